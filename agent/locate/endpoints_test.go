package locate

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/detnet/detnet/agent/kube"
)

// attachment's SHA-256 begins with 237fffb6671b.
const attachment = "8d1e1b3e6f4d5c2b7a9081726354455667788990aabbccddeeff001122334455:eth0"

// What an API server answers about the pod shop/web-0 with UID u2, and what is
// made of it.
func TestEndpoints(t *testing.T) {
	const complete = `{"metadata":{"ownerReferences":[{"uid":"u2"}]},"status":{"external-identifiers":{"cni-attachment-id":"` + attachment + `"}}}`
	for name, tt := range map[string]struct {
		code int
		body string
		want string // empty: an error
		none bool   // the error is ErrNotFound
	}{
		"published":          {http.StatusOK, complete, "lxc237fffb6671b", false},
		"no endpoint yet":    {http.StatusNotFound, `{"message":"not found"}`, "", true},
		"no Cilium":          {http.StatusNotFound, "404 page not found", "", true},
		"an earlier pod's":   {http.StatusOK, strings.Replace(complete, "u2", "u1", 1), "", true},
		"not attached yet":   {http.StatusOK, `{"metadata":{"ownerReferences":[{"uid":"u2"}]}}`, "", true},
		"forbidden":          {http.StatusForbidden, `{"message":"no"}`, "", false},
		"nothing to be read": {http.StatusOK, "{", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/apis/cilium.io/v2/namespaces/shop/ciliumendpoints/web-0" {
					t.Errorf("asked for %v", r.URL)
				}
				w.WriteHeader(tt.code)
				if _, err := w.Write([]byte(tt.body)); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			got, err := NewEndpoints(kube.New(server.URL, nil, "")).Interface(t.Context(), "shop", "web-0", "u2")
			if got != tt.want || (err != nil) != (tt.want == "") || errors.Is(err, ErrNotFound) != tt.none {
				t.Errorf("got %q, %v; want %q, not found: %v", got, err, tt.want, tt.none)
			}
		})
	}
}
