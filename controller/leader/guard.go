package leader

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// Guard lets writes pass only while this replica certainly leads, and has each
// ended, here and by the API server, before another may. What only reads passes.
func (h *Held) Guard(next http.RoundTripper) http.RoundTripper { return guard{h, next} }

type guard struct {
	held *Held
	next http.RoundTripper
}

// leastLeft is too little to begin a write in.
const leastLeft = 50 * time.Millisecond

func (g guard) RoundTrip(request *http.Request) (*http.Response, error) {
	switch request.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return g.next.RoundTrip(request)
	}
	until, ok := g.held.Until()
	left := time.Until(until)
	if !ok || left < leastLeft {
		if request.Body != nil {
			_ = request.Body.Close() // nobody reads it
		}
		return nil, fmt.Errorf("%s %s was not sent: %w", request.Method, request.URL.Path, ErrNotLeading)
	}
	ctx, cancel := context.WithDeadlineCause(request.Context(), until, ErrNotLeading)
	request = request.Clone(ctx)
	query := request.URL.Query()
	query.Set("timeout", left.Round(time.Millisecond).String()) // the API server's own deadline for it
	request.URL.RawQuery = query.Encode()
	response, err := g.next.RoundTrip(request)
	if err != nil {
		cancel()
		return nil, err
	}
	response.Body = ending{response.Body, cancel}
	return response, nil
}

// ending cancels the request's context when the answer was read.
type ending struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (e ending) Close() error {
	defer e.cancel()
	return e.ReadCloser.Close()
}
