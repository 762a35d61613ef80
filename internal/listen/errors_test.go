package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/detnet/detnet/internal/logtest"
)

// Whoever reaches the port can make handshakes fail without end: the log has
// nothing of it. What is our own fault it has.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	var told logtest.Lines
	log := slog.New(slog.NewTextHandler(&told, nil))
	serve := func(with func(*Listener, context.Context) error) net.Addr {
		l, err := TCP(t.Context(), "metrics", "127.0.0.1:0", Few, log, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		serving.Go(func() {
			if err := with(l, ctx); err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(serving.Wait)
		t.Cleanup(stop)
		return l.Addr()
	}
	ours := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("ours") })
	config := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("not yet") }}
	secure := serve(func(l *Listener, ctx context.Context) error { return l.ServeTLS(ctx, config, ours) })
	plain := serve(func(l *Listener, ctx context.Context) error { return l.Serve(ctx, ours) })
	say := func(to net.Addr, what string) {
		c, err := net.Dial("tcp", to.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, what)
		_, _ = io.Copy(io.Discard, c) // until the server has said what it has to say and gone
	}
	for range 10 {
		say(secure, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		say(secure, "\x16\x03\x01\x00\x02\x01\x00 and so on")
	}
	if got := told.String(); got != "" {
		t.Errorf("strangers are told of:\n%s", got)
	}
	say(plain, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := told.String(); !strings.Contains(got, "level=ERROR") || !strings.Contains(got, "panic serving") {
		t.Errorf("a panic of ours is not told of: %q", got)
	}
}
