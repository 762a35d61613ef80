package ask

import (
	"net/http"
	"strings"
	"testing"
)

func TestOnlyWhoHoldsAKeyIsAllowed(t *testing.T) {
	key, other := []byte(strings.Repeat("k", 32)), []byte(strings.Repeat("o", 32))
	h := http.Header{}
	if Allowed(h, key) || Allowed(h, nil) || Allowed(h) {
		t.Error("who proves nothing is allowed")
	}
	Authorize(h, key)
	if !Allowed(h, key) || !Allowed(h, other, key) {
		t.Error("who holds the key is not allowed")
	}
	if Allowed(h, other) || Allowed(h, nil) || Allowed(h) {
		t.Error("another key, or none, is taken for the one")
	}
	if strings.Contains(h.Get("Authorization"), string(key)) {
		t.Error("the key itself is sent")
	}
	Authorize(h, nil)
	if Allowed(h, nil) || Allowed(h, []byte{}) {
		t.Error("an empty key proves something")
	}
}
