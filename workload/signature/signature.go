// Package signature proves that detnet's admission wrote a pod's stamps. The
// webhook signs what it stamps; whoever acts on a stamp verifies it first,
// because labels and annotations are the tenant's to write while a pod is
// created, and the webhook may have been away.
//
// The value of the annotation is
//
//	ID.MAC
//
// with ID the first four octets of the key's SHA-256 in hexadecimal, and MAC the
// HMAC-SHA-256 (RFC 2104) of the canonical encoding in unpadded base64url (RFC
// 4648 §5). The canonical encoding is a list of texts, each as its length in
// octets (an unsigned varint) and its octets: a version, the namespace, and then
// name and value of each managed key that the pod has, in the order of the
// names' octets. Keys that the controller moves on live pods are left out, and
// so is the signature itself.
package signature

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/detnet/detnet/workload"
)

// KeyLength is the length of a key, in octets.
const KeyLength = 32

// version begins the canonical encoding; another encoding gets another one.
const version = "detnet stamps 1"

// Why stamps are not believed. All of them mean: act on none.
var (
	ErrUnsigned   = errors.New("the stamps are not signed")
	ErrUnknownKey = errors.New("the stamps are signed with a key that is not known")
	ErrForged     = errors.New("the signature is not that of these stamps")
)

// Key signs stamps. It is a secret: it goes into no log.
type Key []byte

// ID names the key without telling it.
func (k Key) ID() string {
	sum := sha256.Sum256(k)
	return hex.EncodeToString(sum[:4])
}

// Format keeps the key out of logs, whatever the verb.
func (k Key) Format(s fmt.State, _ rune) { _, _ = fmt.Fprintf(s, "key %s", k.ID()) }

// Sign returns the value of the annotation workload.AnnotationSignature for a pod of
// namespace with these labels and annotations. Equal stamps have equal
// signatures.
func Sign(key Key, namespace string, labels, annotations map[string]string) string {
	return key.ID() + "." + base64.RawURLEncoding.EncodeToString(mac(key, namespace, labels, annotations))
}

// Keys are those in force. The zero Keys can neither sign nor verify.
type Keys struct {
	Current  Key // signs
	Previous Key // still believed; nil if there is none
}

// CanSign reports whether there is a key to sign with.
func (k Keys) CanSign() bool { return len(k.Current) > 0 }

// Verify returns nil if the stamps are those that were signed, with whichever
// key, and else ErrUnsigned, ErrUnknownKey or ErrForged. A pod that carries no
// stamp at all has nothing to verify; callers look for the class first.
func (k Keys) Verify(namespace string, labels, annotations map[string]string) error {
	text := annotations[workload.AnnotationSignature]
	if text == "" {
		return ErrUnsigned
	}
	id, encoded, _ := strings.Cut(text, ".")
	for _, key := range []Key{k.Current, k.Previous} {
		if len(key) == 0 || key.ID() != id {
			continue
		}
		signed, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
		if err != nil || !hmac.Equal(signed, mac(key, namespace, labels, annotations)) {
			return ErrForged
		}
		return nil
	}
	return ErrUnknownKey
}

// Outdated reports whether the annotations carry a signature by another key
// than the current one: the pod is due to be signed anew before that key goes.
func (k Keys) Outdated(annotations map[string]string) bool {
	id, _, ok := strings.Cut(annotations[workload.AnnotationSignature], ".")
	return ok && k.CanSign() && id != k.Current.ID()
}

func mac(key Key, namespace string, labels, annotations map[string]string) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write(canonical(namespace, labels, annotations)) // a hash's Write never fails
	return h.Sum(nil)
}

// canonical is the encoding that the package comment describes.
func canonical(namespace string, labels, annotations map[string]string) []byte {
	out := appendText(nil, version)
	out = appendText(out, namespace)
	for _, key := range signed {
		from := annotations
		if key.Label {
			from = labels
		}
		if value, ok := from[key.Name]; ok {
			out = appendText(out, key.Name)
			out = appendText(out, value)
		}
	}
	return out
}

func appendText(to []byte, text string) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

// signed are the managed keys that a signature covers, by name.
var signed = func() []workload.Key {
	out := slices.DeleteFunc(slices.Clone(workload.Managed), func(k workload.Key) bool {
		return k.Live || k.Name == workload.AnnotationSignature
	})
	slices.SortFunc(out, func(a, b workload.Key) int { return cmp.Compare(a.Name, b.Name) })
	return out
}()
