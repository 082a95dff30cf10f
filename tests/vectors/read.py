"""Opens a sealed document with nothing but docs/sealing.md, a standard package of ciphers and zstd: a check that the page is true.

Usage: read.py < export.json > document

The export holds a data key, what the document belongs to, the pieces of its skeleton and its sealed values by ordinal, as in skeleton.json
beside this file. Whatever is not as the page says ends with exit code 1 and nothing on standard output.
"""

import hashlib, hmac, json, sys
import zstandard

try:
    from Cryptodome.Cipher import ChaCha20_Poly1305
except ImportError:
    from Crypto.Cipher import ChaCha20_Poly1305

SUITE = b"\x00\x01"
HEAD, TEXT = 1, 2

def expect(holds, what):
    if not holds:
        raise ValueError(what)

def u64(number):
    return number.to_bytes(8, "big")

def lp(data):
    return u64(len(data)) + data

def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()

def derive(export, purpose):
    extracted = mac(bytes.fromhex(export["data_key_id"]), bytes.fromhex(export["data_key"]))
    return mac(extracted, b"leasehold/v1/" + purpose + b"\x01")

def decrypt(key, nonce, bound, sealed):
    cipher = ChaCha20_Poly1305.new(key=key, nonce=nonce)
    cipher.update(bound)
    return cipher.decrypt_and_verify(sealed[:-16], sealed[-16:])

def inflate(frame, size):
    """Exactly one frame that unpacks to this many bytes."""
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 23).decompressobj()
    data = reader.decompress(frame)
    expect(reader.eof and not reader.unused_data and len(data) == size, "a frame")
    return data

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, length):
        expect(self.at + length <= len(self.data), "an end")
        self.at += length
        return self.data[self.at - length : self.at]

    def number(self, length):
        return int.from_bytes(self.take(length), "big")

    def varint(self):
        number = shift = 0
        while True:
            byte = self.number(1)
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

def belongs(export):
    holder = export["holder"]
    holder = b"\x01" + u64(holder["version"]) if "version" in holder else b"\x02" + bytes.fromhex(holder["draft"])
    return lp(SUITE) + lp(bytes.fromhex(export["environment"])) + lp(bytes.fromhex(export["state"])) + lp(holder)

def open_skeleton(export):
    """The encoded head, and the text."""
    key, parts, pieces = derive(export, b"skeleton-encryption"), {HEAD: b"", TEXT: b""}, export["pieces"]
    for number, piece in enumerate(map(bytes.fromhex, pieces)):
        form, part, count = piece[0], piece[1], int.from_bytes(piece[2:6], "big")
        expect(form == 2 and count == len(pieces) and (part == TEXT or not parts[TEXT]), "a piece's header")
        bound = belongs(export) + lp(number.to_bytes(4, "big")) + lp(count.to_bytes(4, "big")) + lp(u64(export["base"])) + bytes([part])
        parts[part] += decrypt(key, piece[6:30], bound, piece[30:])
    reader = Reader(parts[HEAD])
    payload, encoded, packed = reader.number(8), reader.number(4), reader.number(4)
    head = reader.take(17) + inflate(reader.take(packed), encoded - 17)
    expect(reader.at == len(parts[HEAD]), "the end of the head")
    return head, inflate(parts[TEXT], payload)

def decode_head(head):
    """The size of the document, and (where, JSON type, ordinal, path) of each hole."""
    reader = Reader(head)
    _flags, size, _text_size, count = reader.number(1), reader.number(8), reader.number(8), reader.varint()
    steps, at = [], [reader.varint() for _ in range(count)]
    kinds, _reasons = reader.take(count), reader.take(count)
    ordinals, holes, where, ordinal = [reader.varint() for _ in range(count)], [], 0, -1
    for n in range(count):
        where, ordinal = where + at[n], ordinal + 1 + (ordinals[n] >> 1 ^ -(ordinals[n] & 1))
        shared, own = reader.varint(), reader.varint()
        steps = steps[:shared] + [reader.take(1) + lp(reader.take(reader.varint())) for _ in range(own)]
        holes.append((where, kinds[n], ordinal, len(steps).to_bytes(4, "big") + b"".join(steps)))
    expect(reader.at == len(head), "the end of the table")
    return size, holes

def open_value(export, kind, path, sealed):
    ids = b"".join(lp(bytes.fromhex(export[name])) for name in ["environment", "state", "data_key_id"])
    context = lp(SUITE) + ids + bytes([kind]) + path
    padded = decrypt(derive(export, b"value-encryption"), sealed[:24], context, sealed[24:])
    end = 4 + int.from_bytes(padded[:4], "big")
    token, zeros = padded[4:end], padded[end:]
    exponent = max(32, end).bit_length() - 1
    low = (1 << exponent - exponent.bit_length()) - 1
    expect(not any(zeros) and len(padded) == max(32, end) + low & ~low, "padding")
    expect(mac(derive(export, b"value-nonce"), lp(context) + lp(token))[:24] == sealed[:24], "a nonce")
    return token

def version_mac(export, head, values, text):
    said = export["subject"]
    rules = said["rules"][0].to_bytes(4, "big") + u64(said["rules"][1])
    subject = lp(bytes.fromhex(said["previous_etag"])) + lp(u64(said["token"])) + lp(said["format"].encode()) + lp(rules)
    content = lp(head) + u64(len(values)) + b"".join(map(lp, values)) + text
    return mac(derive(export, b"version-mac"), belongs(export) + subject + content)

def read(export):
    expect(export["base"] == 0, "a difference: open the whole text of its base first")
    head, text = open_skeleton(export)
    size, holes = decode_head(head)
    values = [bytes.fromhex(export["values"][str(ordinal)]) for _, _, ordinal, _ in holes]
    expect(version_mac(export, head, values, text).hex() == export["mac"], "the MAC")
    document, done = b"", 0
    for (where, kind, _, path), sealed in zip(holes, values):
        document += text[done:where] + open_value(export, kind, path, sealed)
        done = where
    document += text[done:]
    expect(len(document) == size, "the size")
    return document

if __name__ == "__main__":
    try:
        sys.stdout.buffer.write(read(json.load(sys.stdin)))
    except (KeyError, ValueError, zstandard.ZstdError) as cause:
        sys.exit(f"does not open: {cause}")
