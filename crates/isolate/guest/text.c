#include "text.h"

/* How many bytes the sequence that begins with `lead` has (0: none begins so), and which second bytes it allows. */
static int sequence(uint8_t lead, uint8_t *second_min, uint8_t *second_max) {
    *second_min = 0x80;
    *second_max = 0xbf;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xc2 && lead <= 0xdf)
        return 2;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0)
            *second_min = 0xa0; /* overlong */
        if (lead == 0xed)
            *second_max = 0x9f; /* surrogates */
        return 3;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0)
            *second_min = 0x90; /* overlong */
        if (lead == 0xf4)
            *second_max = 0x8f; /* above U+10FFFF */
        return 4;
    }
    return 0;
}

/* How many of the first bytes belong to one sequence, complete or not. */
static size_t matching(const uint8_t *bytes, size_t length, int *expected) {
    uint8_t min, max;
    *expected = sequence(bytes[0], &min, &max);
    if (*expected == 0)
        return 0;
    size_t count = 1;
    while (count < (size_t)*expected && count < length && bytes[count] >= min && bytes[count] <= max) {
        min = 0x80;
        max = 0xbf;
        count++;
    }
    return count;
}

size_t text_well_formed_prefix(const uint8_t *bytes, size_t length) {
    size_t at = 0;
    while (at < length) {
        if (bytes[at] < 0x80) {
            at++;
            continue;
        }
        int expected;
        size_t count = matching(bytes + at, length - at, &expected);
        if (expected == 0 || count < (size_t)expected)
            return at;
        at += count;
    }
    return at;
}

size_t text_ill_formed_length(const uint8_t *bytes, size_t length) {
    int expected;
    size_t count = matching(bytes, length, &expected);
    return count ? count : 1;
}
