/* UTF-8 as the Encoding Standard decodes it. */
#ifndef TIDEMARK_TEXT_H
#define TIDEMARK_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* The length of the longest prefix that is well-formed. */
size_t text_well_formed_prefix(const uint8_t *bytes, size_t length);

/* The length of the ill-formed sequence at the start of `bytes` that one U+FFFD stands for, at least 1. */
size_t text_ill_formed_length(const uint8_t *bytes, size_t length);

#endif
