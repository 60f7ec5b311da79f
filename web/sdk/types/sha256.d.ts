/**
 * The SHA-256 of bytes.
 * @param {Uint8Array} bytes
 * @returns {Uint8Array} 32 bytes
 */
export declare function sha256(bytes: Uint8Array): Uint8Array;
