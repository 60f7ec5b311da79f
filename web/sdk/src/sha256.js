// SHA-256: FIPS 180-4, section 6.2.
//
// In: bytes. Out: 32 bytes. Web Crypto would not do: pages over plain http do not have it, and it is asynchronous, while
// a timeline must verify an entry before it delivers it.

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const ROUND = new Uint32Array(64);
/** The same for the square roots of the first 8 primes. */
const START = new Uint32Array(8);

for (let n = 2, found = 0; found < 64; n++) {
  let prime = true;
  for (let d = 2; d * d <= n; d++) prime = prime && n % d !== 0;
  if (!prime) continue;
  if (found < 8) START[found] = fraction(Math.sqrt(n));
  ROUND[found++] = fraction(Math.cbrt(n));
}

/** @param {number} x */
function fraction(x) {
  return Math.floor((x - Math.floor(x)) * 0x1_0000_0000) >>> 0;
}

/** @param {number} x @param {number} by */
function rotated(x, by) {
  return (x >>> by) | (x << (32 - by));
}

const schedule = new Uint32Array(64);

/**
 * @param {Uint32Array} state
 * @param {DataView} bytes
 * @param {number} at
 */
function mix(state, bytes, at) {
  const w = schedule;
  for (let i = 0; i < 16; i++) w[i] = bytes.getUint32(at + i * 4);
  for (let i = 16; i < 64; i++) {
    const a = w[i - 15], b = w[i - 2];
    const small = rotated(a, 7) ^ rotated(a, 18) ^ (a >>> 3);
    const large = rotated(b, 17) ^ rotated(b, 19) ^ (b >>> 10);
    w[i] = w[i - 16] + small + w[i - 7] + large;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i++) {
    const s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUND[i] + w[i]) | 0;
    const s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g; g = f; f = e; e = (d + t1) | 0;
    d = c; c = b; b = a; a = (t1 + t2) | 0;
  }
  state[0] += a; state[1] += b; state[2] += c; state[3] += d;
  state[4] += e; state[5] += f; state[6] += g; state[7] += h;
}

/**
 * The SHA-256 of bytes.
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 32 bytes
 */
export function sha256(bytes) {
  const state = START.slice();
  const whole = bytes.length - bytes.length % 64;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < whole; at += 64) mix(state, view, at);

  // Padding: the rest, a one bit, zeros, and the length in bits.
  const rest = bytes.length - whole;
  const tail = new Uint8Array(rest < 56 ? 64 : 128);
  tail.set(bytes.subarray(whole));
  tail[rest] = 0x80;
  const end = new DataView(tail.buffer);
  end.setUint32(tail.length - 8, Math.floor(bytes.length / 0x2000_0000));
  end.setUint32(tail.length - 4, bytes.length << 3);
  for (let at = 0; at < tail.length; at += 64) mix(state, end, at);

  const hash = new Uint8Array(32), out = new DataView(hash.buffer);
  for (let i = 0; i < 8; i++) out.setUint32(i * 4, state[i]);
  return hash;
}
