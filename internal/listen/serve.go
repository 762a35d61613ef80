package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc/credentials"
)

// Limits on one connection of HTTP, so that a slow client cannot hold it.
const (
	headerTimeout = 5 * time.Second // of TLS's handshake as well
	readTimeout   = 15 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 2 * time.Minute // more than the usual interval of scrapes
	maxHeader     = 16 << 10        // bytes
)

// HTTP2 bounds what one HTTP/2 connection may take.
func HTTP2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          100,
		MaxReceiveBufferPerConnection: 256 << 10, // octets
		MaxReceiveBufferPerStream:     128 << 10,
	}
}

// HTTP returns a server of h for the connections of l.
func (l *Listener) HTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		HTTP2:             HTTP2(),
		ConnState:         l.Track,
		ErrorLog:          Errors(l.log),
	}
}

// Serve serves h until ctx ends.
func (l *Listener) Serve(ctx context.Context, h http.Handler) error { return l.serve(ctx, l, h) }

// ServeTLS is Serve over TLS.
func (l *Listener) ServeTLS(ctx context.Context, config *tls.Config, h http.Handler) error {
	return l.serve(ctx, tls.NewListener(l, config), h)
}

func (l *Listener) serve(ctx context.Context, from net.Listener, h http.Handler) error {
	server := l.HTTP(h)
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(from); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.name, err)
	}
	return nil
}

// Track is the ConnState hook of an http.Server: it tells what each connection
// is worth.
func (l *Listener) Track(c net.Conn, s http.ConnState) {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secured.NetConn()
	}
	mine, ok := c.(*conn)
	if !ok {
		return
	}
	switch s {
	case http.StateActive:
		l.enter(mine, busy)
	case http.StateIdle:
		l.enter(mine, idle)
	case http.StateHijacked, http.StateClosed:
		l.forget(mine)
	}
}

// Proving are credentials whose handshake proves a connection of l: it no longer
// gives way to strangers. They must want a certificate of the client.
func (l *Listener) Proving(creds credentials.TransportCredentials) credentials.TransportCredentials {
	return provingCredentials{creds, l}
}

type provingCredentials struct {
	credentials.TransportCredentials
	listener *Listener
}

// ServerHandshake implements credentials.TransportCredentials.
func (p provingCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	secured, info, err := p.TransportCredentials.ServerHandshake(raw)
	if mine, ok := raw.(*conn); ok && err == nil {
		p.listener.enter(mine, proven)
	}
	return secured, info, err
}

// Clone implements credentials.TransportCredentials.
func (p provingCredentials) Clone() credentials.TransportCredentials {
	return provingCredentials{p.TransportCredentials.Clone(), p.listener}
}
