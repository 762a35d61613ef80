package webhook

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/detnet/detnet/internal/freeport"
)

// A request that is under way when the shutdown begins gets its answer, the
// server is not ready any more, and nobody connects after it.
func TestServerDrains(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	arrived, release := make(chan struct{}), make(chan struct{})
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()

	server := &Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(arrived)
			<-release
			_, _ = io.WriteString(w, "served")
		}),
		TLS:   &tls.Config{Certificates: certificate.TLS.Certificates},
		Log:   slog.New(slog.DiscardHandler),
		Grace: time.Hour, // longer than this machine stands still
	}
	if server.Ready(nil) == nil {
		t.Error("ready before it serves")
	}
	listener, err := net.Listen("tcp", freeport.Addr(t)) // nobody else's after it
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()

	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	answer := make(chan string, 1)
	go func() {
		r, err := client.Get("https://" + listener.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		answer <- string(body)
	}()
	<-arrived
	if err := server.Ready(nil); err != nil {
		t.Errorf("not ready while serving: %v", err)
	}
	stop()
	for server.Ready(nil) == nil {
		time.Sleep(time.Millisecond)
	}
	close(release)
	if got := <-answer; got != "served" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if r, err := client.Get("https://" + listener.Addr().String()); err == nil {
		r.Body.Close()
		t.Error("it still answers")
	}
}

// Requests that outlast the grace are cut, and that is an error.
func TestServerGraceEnds(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	server := &Server{
		Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { close(arrived); <-release }),
		TLS:     &tls.Config{Certificates: certificate.TLS.Certificates},
		Log:     slog.New(slog.DiscardHandler),
		Grace:   time.Millisecond,
	}
	defer close(release)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Serve(ctx, listener) }()
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	defer client.CloseIdleConnections()
	go func() {
		if r, err := client.Get("https://" + listener.Addr().String()); err == nil {
			r.Body.Close()
		}
	}()
	<-arrived
	stop()
	if err := <-done; err == nil {
		t.Error("no word of the request that was cut")
	}
}

// Who calls while it lingers is served, and told to connect anew.
func TestServerPartsFromClients(t *testing.T) {
	certificate := httptest.NewUnstartedServer(nil)
	certificate.StartTLS()
	defer certificate.Close()
	pair := certificate.TLS.Certificates
	synctest.Test(t, func(t *testing.T) {
		server := &Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "served") }),
			TLS:     &tls.Config{Certificates: pair},
			Log:     slog.New(slog.DiscardHandler),
			Linger:  5 * time.Second,
			Grace:   time.Second,
		}
		listener := make(pipes)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- server.Serve(ctx, listener) }()
		client := &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			DialContext:     func(context.Context, string, string) (net.Conn, error) { return listener.dial(), nil },
		}}
		defer client.CloseIdleConnections()
		closes := func() bool {
			r, err := client.Get("https://webhook")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if body, err := io.ReadAll(r.Body); err != nil || string(body) != "served" {
				t.Errorf("answer %q, %v", body, err)
			}
			return r.Close
		}
		if closes() {
			t.Error("it closes connections while it is ready")
		}
		stop()
		synctest.Wait()
		if server.Ready(nil) == nil {
			t.Error("ready while it lingers")
		}
		if !closes() {
			t.Error("it keeps a connection that it is about to close")
		}
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// pipes is a listener whose connections are in memory.
type pipes chan net.Conn

func (p pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	p <- theirs
	return ours
}

func (p pipes) Accept() (net.Conn, error) {
	if conn, open := <-p; open {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }
