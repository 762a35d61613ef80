package kube

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// The token that the kubelet renewed is the one that is shown, and a refusal
// says what the API server says.
func TestGet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/api/v1/pods?watch=true" || r.Header.Get("Accept") != "application/json" {
			t.Errorf("asked for %v with %v", r.URL, r.Header)
		}
		switch r.Header.Get("Authorization") {
		case "Bearer new":
			_, _ = io.WriteString(w, "{}")
		case "Bearer late":
			w.WriteHeader(http.StatusBadGateway) // by a proxy, which sends no Status
		default:
			http.Error(w, `{"kind":"Status","message":"the token has expired"}`, http.StatusUnauthorized)
		}
	}))
	defer server.Close()
	c := New(server.URL+"/", server.Client().Transport, file)
	get := func(token string) (string, error) {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		body, err := c.Get(t.Context(), "/api/v1/pods", url.Values{"watch": {"true"}})
		if err != nil {
			return "", err
		}
		defer body.Close()
		text, err := io.ReadAll(body)
		return string(text), err
	}
	for token, want := range map[string]StatusError{
		"old":  {http.StatusUnauthorized, "the token has expired"},
		"late": {http.StatusBadGateway, ""},
	} {
		_, err := get(token)
		if refused := new(StatusError); !errors.As(err, &refused) || *refused != want {
			t.Errorf("token %s: %v, want %v", token, err, &want)
		}
	}
	if text, err := get("new"); text != "{}" || err != nil {
		t.Errorf("new token: %q, %v", text, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Get(t.Context(), "/", nil); err == nil {
		t.Error("asked without a token")
	}
}

func TestInCluster(t *testing.T) {
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	if _, err := InCluster(); err == nil {
		t.Error("found a cluster where there is none")
	}
}
