// Package ask is how the controller asks the webhook which Cilium policies a
// pod should have: where, what is answered, and how the webhook knows who asks.
// The policies are decided by Rego, which lives in the webhook; they are written
// by the controller, once the pod exists.
//
// The question is an AdmissionReview of the pod as it was created. Nothing comes
// of it but the answer.
package ask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
)

// Path is where the webhook answers, by POST.
const Path = "/policies"

// Answer says what a pod should have.
type Answer struct {
	Class    string   `json:"class"`              // "" if the pod does not concern detnet
	Decision string   `json:"decision,omitempty"` // rule ids and hash of the policy set
	Policies []Policy `json:"policies,omitempty"`
}

// Policy is a CiliumNetworkPolicy of the pod's namespace.
type Policy struct {
	Name string `json:"name"`
	// Yields says that the policy may open nothing that another one closes. A
	// policy that the site's own rules decided does not yield.
	Yields bool            `json:"yields,omitempty"`
	Spec   json.RawMessage `json:"spec"` // a Cilium rule
}

// purpose keeps what is made here apart from other uses of the same key.
const purpose = "detnet ask 1"

// Authorize puts into h the proof that who asks holds key, the one that signs
// stamps. It is a bearer token (RFC 6750): send it over TLS to the webhook only,
// which holds the key itself.
func Authorize(h http.Header, key []byte) {
	h.Set("Authorization", "Bearer "+token(key))
}

// Allowed reports whether h proves that one of the keys is known. Empty keys
// prove nothing.
func Allowed(h http.Header, keys ...[]byte) bool {
	got := []byte(h.Get("Authorization"))
	allowed := false
	for _, key := range keys {
		if len(key) > 0 && hmac.Equal(got, []byte("Bearer "+token(key))) {
			allowed = true
		}
	}
	return allowed
}

// token is the HMAC-SHA-256 (RFC 2104) of the purpose, in unpadded base64url.
func token(key []byte) string {
	h := hmac.New(sha256.New, key)
	_, _ = h.Write([]byte(purpose)) // a hash's Write never fails
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
