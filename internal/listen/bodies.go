package listen

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
)

// errBodies is why a body is not read on.
var errBodies = errors.New("too many large requests at once: try again")

// Bodies bounds what the bodies of all requests in flight take together to most
// octets: a decoded body takes several times as much. Who wants more is refused.
func Bodies(most int64, next http.Handler) http.Handler {
	var all atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b := &body{ReadCloser: r.Body, all: &all, most: most}
		defer func() { all.Add(-b.read) }()
		r.Body = b
		next.ServeHTTP(w, r)
	})
}

type body struct {
	io.ReadCloser
	all  *atomic.Int64
	most int64
	read int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if b.all.Load() >= b.most {
		return 0, errBodies
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	b.all.Add(int64(n))
	return n, err
}
