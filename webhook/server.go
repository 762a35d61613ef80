package webhook

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/detnet/detnet/internal/listen"
)

// Limits on a connection, so that a slow or idle client can't hold one.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 15 * time.Second
	writeTimeout      = 15 * time.Second
	// API servers give up an idle connection after 90 s. It must be them: a
	// connection closed here may have their next call under way.
	idleTimeout = 3 * time.Minute
	maxHeader   = 32 << 10 // bytes
	// maxBodies is for all requests in flight, in bytes: 6,000 usual pods, or a
	// few of the largest.
	maxBodies = 32 << 20
)

// Server serves the webhook over TLS until its context ends, and then drains.
type Server struct {
	Handler http.Handler
	TLS     *tls.Config
	Log     *slog.Logger
	// Linger is how long it goes on serving after it stopped being ready, so
	// that every API server has learned not to connect here any more.
	Linger time.Duration
	// Grace is how long requests in flight may take after that.
	Grace time.Duration
	// ConnState is http.Server's hook of that name; may be nil.
	ConnState func(net.Conn, http.ConnState)

	serving atomic.Bool
}

// Ready reports whether new requests may be sent here; it turns false as soon
// as a shutdown begins. Its signature is that of a healthz.Checker.
func (s *Server) Ready(*http.Request) error {
	if !s.serving.Load() {
		return errors.New("not serving: starting or draining")
	}
	return nil
}

// Serve answers on listener until ctx ends, drains and returns nil.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:           s.parting(listen.Bodies(maxBodies, s.Handler)),
		TLSConfig:         s.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             listen.HTTP2(),
		ConnState:         s.ConnState,
		ErrorLog:          listen.Errors(s.Log),
	}
	failed := make(chan error, 1)
	s.serving.Store(true)
	go func() { failed <- server.ServeTLS(listener, "", "") }()
	select {
	case err := <-failed:
		s.serving.Store(false)
		return fmt.Errorf("serve admission on %v: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.serving.Store(false)
	s.Log.Info("draining", "linger", s.Linger, "grace", s.Grace)
	time.Sleep(s.Linger)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Grace)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return fmt.Errorf("requests were still in flight after %v: %w", s.Grace, err)
	}
	return nil
}

// parting asks who calls during a shutdown not to call on this connection
// again. API servers keep theirs for the next call; were it closed under that,
// the call would fail, because a POST is not sent twice.
func (s *Server) parting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.serving.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}
