// scrypt as published packages write it, but for one loop (guest/hashing.h says when): the xor of two blocks, a word at a time, takes an
// interpreter seconds. All else that these functions do is what the packages' do, in the same order: they call the packages' own
// functions, which are given to them, and read the same globals. What mixes a block is native by itself.
import { xorWords } from "tidemark:host";

/** `scrypt` of lucia, whose parameters were found good. Its first argument says nothing. */
export async function scryptInSteps(_, derive, wordsOf, mix, password, salt, N, r, p, length) {
  const bytes = 128 * r;
  const words = bytes / 4;
  const state = await derive(password, salt, { c: 1, dkLen: bytes * p });
  const stateWords = wordsOf(state);
  const table = wordsOf(new Uint8Array(bytes * N));
  const mixed = wordsOf(new Uint8Array(bytes));
  for (let part = 0; part < p; part++) {
    const begin = words * part;
    for (let index = 0; index < words; index++) {
      table[index] = stateWords[begin + index];
    }
    for (let row = 1; row < N; row++) {
      mix(table, (row - 1) * words, table, row * words, r);
      // Others may run after each step. The package awaits a promise that is fulfilled already, which takes as long.
      await undefined;
    }
    mix(table, (N - 1) * words, stateWords, begin, r);
    for (let step = 0; step < N; step++) {
      const row = stateWords[begin + words - 16] % N;
      xor(mixed, stateWords, begin, table, row * words, words);
      mix(mixed, 0, stateWords, begin, r);
      await undefined;
    }
  }
  const key = await derive(password, state, { c: 1, dkLen: length });
  state.fill(0);
  table.fill(0);
  mixed.fill(0);
  return key;
}

/** `scrypt` of @noble/hashes. */
export function scryptAtOnce(isMasked, begin, swap, mix, end, password, salt, options) {
  const { N, r, p, dkLen, blockSize32, V, B32, B, tmp, blockMixCb } = begin(password, salt, options);
  swap(B32);
  for (let part = 0; part < p; part++) {
    const first = blockSize32 * part;
    for (let index = 0; index < blockSize32; index++) {
      V[index] = B32[first + index];
    }
    for (let row = 0, at = 0; row < N - 1; row++) {
      mix(V, at, V, (at += blockSize32), r);
      blockMixCb();
    }
    mix(V, (N - 1) * blockSize32, B32, first, r);
    blockMixCb();
    for (let step = 0; step < N; step++) {
      scryptStep(isMasked, mix, B32, first, blockSize32, N, tmp, V, r, blockMixCb);
    }
  }
  swap(B32);
  return end(password, dkLen, B, V, tmp);
}

/** What `scryptAsync` of @noble/hashes gives to its second loop; `scrypt` has the same in its own. */
export function scryptStep(isMasked, mix, B32, first, blockSize32, N, tmp, V, r, blockMixCb) {
  const word = B32[first + blockSize32 - 16];
  const row = isMasked ? (word & (N - 1)) >>> 0 : word % N;
  xor(tmp, B32, first, V, row * blockSize32, blockSize32);
  mix(tmp, 0, B32, first, r);
  blockMixCb();
}

function xor(target, first, firstBegin, second, secondBegin, count) {
  if (!xorWords(target, first, firstBegin, second, secondBegin, count)) {
    for (let index = 0; index < count; index++) {
      target[index] = first[firstBegin + index] ^ second[secondBegin + index];
    }
  }
}
