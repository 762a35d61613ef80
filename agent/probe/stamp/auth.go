package stamp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
)

// Key authenticates packets by HMAC-SHA-256 truncated to 16 octets (RFC 8762
// §4.4). It is not safe for concurrent use.
type Key struct {
	mac hash.Hash
	sum [sha256.Size]byte
}

// macSize is the length of a truncated HMAC.
const macSize = 16

// MinKeySize is the shortest key that is accepted, in octets.
const MinKeySize = 16

// NewKey returns the Key of a shared secret.
func NewKey(secret []byte) (*Key, error) {
	if len(secret) < MinKeySize {
		return nil, fmt.Errorf("stamp: a key of %d octets is too short, at least %d are needed", len(secret), MinKeySize)
	}
	return &Key{mac: hmac.New(sha256.New, secret)}, nil
}

// digest is the truncated HMAC of parts, one after the other; valid until the
// next call.
func (k *Key) digest(parts ...[]byte) []byte {
	k.mac.Reset()
	for _, p := range parts {
		k.mac.Write(p)
	}
	return k.mac.Sum(k.sum[:0])[:macSize]
}

// sign fills in the HMAC of an authenticated packet.
func (k *Key) sign(p []byte) { copy(p[hmacOffset:], k.digest(p[:hmacOffset])) }

// verify finds the key that signed b. Two keys are valid while one replaces the
// other.
func verify(b []byte, keys []*Key) (*Key, error) {
	if len(b) < AuthSize {
		return nil, ErrShort
	}
	for _, k := range keys {
		if hmac.Equal(b[hmacOffset:AuthSize], k.digest(b[:hmacOffset])) {
			return k, nil
		}
	}
	return nil, ErrAuth
}

// IsSigned reports whether b, which is not authentic, has the layout of an
// authenticated packet at least: zeros where the other one has its timestamp.
func IsSigned(b []byte) bool {
	return len(b) >= AuthSize && bytes.Count(b[4:16], []byte{0}) == 12
}

// IsAuth reports whether err means that a packet was not authentic, rather than
// not readable.
func IsAuth(err error) bool { return errors.Is(err, ErrAuth) }
