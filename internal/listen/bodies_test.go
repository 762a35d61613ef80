package listen

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Bodies in flight count together; one that is done makes room.
func TestBodies(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	var read error
	h := Bodies(1000, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, read = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/held" {
			close(entered)
			<-release
		}
	}))
	post := func(path string, octets int) {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader(strings.Repeat("x", octets))))
	}
	done := make(chan struct{})
	go func() { post("/held", 999); close(done) }()
	<-entered
	if post("/", 10); !errors.Is(read, errBodies) {
		t.Errorf("beyond the bound: %v", read)
	}
	close(release)
	<-done
	if post("/", 500); read != nil {
		t.Errorf("after the others are done: %v", read)
	}
}
