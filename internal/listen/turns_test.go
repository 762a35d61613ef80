package listen

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// ask makes a request from an address.
func ask(ctx context.Context, h http.Handler, from string) (code int) {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
	r.RemoteAddr = from
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// Whoever asks over and over waits for itself: another source's first request is among the
// next two.
func TestSourcesHaveTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		release := make(chan struct{})
		h := InTurn(1, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			order = append(order, r.RemoteAddr)
			mu.Unlock()
			<-release
		}))
		var all sync.WaitGroup
		begin := func(from string) {
			all.Go(func() { ask(t.Context(), h, from) })
			synctest.Wait()
		}
		for range 50 {
			begin("10.0.0.1:1")
		}
		begin("10.0.0.2:1")
		begin("[fd00::1]:1")
		begin("[fd00::2]:1") // the same network
		for range 4 {
			release <- struct{}{}
			synctest.Wait()
		}
		mu.Lock()
		got := strings.Join(order, " ")
		mu.Unlock()
		if want := "10.0.0.1:1 10.0.0.2:1 [fd00::1]:1 10.0.0.1:1 [fd00::2]:1"; got != want {
			t.Errorf("the order is %s, want %s", got, want)
		}
		close(release)
		all.Wait()
	})
}

// Who waits too long, or for nothing any more, makes room; and nobody is let in beside the others.
func TestWaitingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, inside, most := make(chan struct{}), 0, 0
		var mu sync.Mutex
		h := InTurn(2, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			<-release
			mu.Lock()
			inside--
			mu.Unlock()
		}))
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() { ask(t.Context(), h, "10.0.0.1:1") })
		}
		synctest.Wait()
		if code := ask(t.Context(), h, "10.0.0.2:1"); code != http.StatusServiceUnavailable {
			t.Errorf("after a long wait: %d", code)
		}
		gone, leave := context.WithCancel(t.Context())
		leave()
		ask(gone, h, "10.0.0.2:1")
		if len(h.waiting) > 0 {
			t.Errorf("%d wait for nobody", len(h.waiting))
		}
		for range 20 {
			all.Go(func() { ask(t.Context(), h, "10.0.0.3:1") })
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if most > 2 || inside != 0 || h.free != 2 || len(h.served) > 0 {
			t.Errorf("%d at once, %d are left, %d places are free, %d are remembered", most, inside, h.free, len(h.served))
		}
	})
}

// Who reads slowly keeps nobody else from being answered for long, and who reads is answered
// in full.
func TestASlowReaderGivesWay(t *testing.T) {
	page := strings.Repeat("x", 64<<20) // more than the kernel takes
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := within(inner, "test", Few, slog.New(slog.DiscardHandler))
	server := l.HTTP(InTurn(1, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) })))
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer server.Close()
	// A machine that stands still for longer than the server waits ends either answer: not five times in a row.
	for try := 1; ; try++ {
		err := besideASlowReader(l.Addr().String(), len(page))
		if err == nil {
			return
		}
		if t.Logf("try %d: %v", try, err); try == 5 {
			t.Fatal("nobody is answered in full beside a slow reader")
		}
	}
}

// besideASlowReader reads a page while another one that was asked for is not read.
func besideASlowReader(addr string, size int) error {
	slow, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return err
	}
	if _, err := io.ReadFull(slow, make([]byte, 1024)); err != nil { // it has its place
		return err
	}
	answer, err := http.Get("http://" + addr)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if n, err := io.Copy(io.Discard, answer.Body); answer.StatusCode != http.StatusOK || n != int64(size) || err != nil {
		return fmt.Errorf("%d, %d octets, %w", answer.StatusCode, n, err)
	}
	return nil
}
