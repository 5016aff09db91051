/* Values in the format that Python's marshal.loads() reads: Python gets nested tuples and dicts
 * in one go, where folding a list of strings would cost it more than OpenSSL's parsing.
 *
 * A value is a type code and what belongs to it; numbers are 32 bits, little-endian. The codes
 * in use here are as old as Python 2 and are read by every version: '{' key value ... '0' (dict),
 * '(' and '[' count items (tuple, list), 'u' length UTF-8, 's' length bytes, 'i' number.
 */
#include "internal.h"

static void
put_number(sb_block *block, char code, size_t number)
{
    unsigned char bytes[5] = {(unsigned char)code, number & 0xff, number >> 8 & 0xff,
                              number >> 16 & 0xff, number >> 24 & 0xff};

    sb_block_append(block, bytes, sizeof bytes);
}

void
sb_put_integer(sb_block *block, int number)
{
    put_number(block, 'i', (unsigned int)number);
}

/* The length of the character at the start of a text, 0 if it is none: RFC 3629 4. */
static size_t
character(const unsigned char *text, size_t len)
{
    unsigned char first = text[0], low = 0x80, high = 0xbf;
    size_t size, i;

    if (first < 0x80)
        return 1;
    size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || size > len)
        return 0;
    if (first == 0xe0 || first == 0xf0) /* a longer form than need be */
        low = first == 0xe0 ? 0xa0 : 0x90;
    if (first == 0xed || first == 0xf4) /* a surrogate, or above U+10FFFF */
        high = first == 0xed ? 0x9f : 0x8f;
    if (text[1] < low || text[1] > high)
        return 0;
    for (i = 2; i < size; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

static int
is_utf8(const unsigned char *text, size_t len)
{
    size_t at, size;

    for (at = 0; at < len; at += size)
        if ((size = character(text + at, len - at)) == 0)
            return 0;
    return 1;
}

/* Not every version's marshal.loads() is strict about UTF-8. */
void
sb_put_bytes(sb_block *block, const void *text, size_t len)
{
    if (is_utf8(text, len)) {
        put_number(block, 'u', len);
        sb_block_append(block, text, len);
    } else if (block->failed == SB_OK) {
        block->len = block->n = 0;
        sb_block_add(block, text, len);
        if (block->failed == SB_OK)
            block->failed = SB_NOT_TEXT;
    }
}

void
sb_put_octets(sb_block *block, const void *octets, size_t len)
{
    put_number(block, 's', len);
    sb_block_append(block, octets, len);
}

void
sb_put_text(sb_block *block, const char *text)
{
    sb_put_bytes(block, text, strlen(text));
}

void
sb_put_bio(sb_block *block, BIO *memory)
{
    char *data = NULL;
    long len = BIO_get_mem_data(memory, &data);

    sb_put_bytes(block, data, len > 0 ? (size_t)len : 0);
    (void)BIO_reset(memory);
}

void
sb_put_dict(sb_block *block)
{
    sb_block_append(block, "{", 1);
}

void
sb_end_dict(sb_block *block)
{
    sb_block_append(block, "0", 1);
}

sb_sequence
sb_put_sequence(sb_block *block, char code)
{
    sb_sequence begun = {block->len, 0};

    put_number(block, code, 0);
    return begun;
}

void
sb_end_sequence(sb_block *block, sb_sequence sequence)
{
    size_t i;

    for (i = 0; i < 4 && block->failed == SB_OK; i++)
        block->data[sequence.at + 1 + i] = (char)(sequence.count >> 8 * i & 0xff);
}
