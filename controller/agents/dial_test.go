package agents

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"google.golang.org/grpc/credentials/insecure"

	"github.com/detnet/detnet/internal/freeport"
)

// A dial that is given up before the other end says a word ends with the reason, and leaves
// no connection.
func TestADialThatIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d, err := newDialer(insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	reason := errors.New("given up")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		peer, err := l.Accept()
		if err == nil {
			cancel(reason)
			_, err = io.Copy(io.Discard, peer) // until the other end closes
			peer.Close()
		}
		ended <- err
	}()
	if _, err := d.dial(ctx, l.Addr().String()); !errors.Is(err, reason) {
		t.Errorf("dial: %v, want that it was given up", err)
	}
	if err := <-ended; err != nil {
		t.Logf("the connection ended with %v", err) // a reset is an end
	}
}

// Where nobody listens a dial says so.
func TestADialThatIsRefused(t *testing.T) {
	addr := freeport.Addr(t)
	d, err := newDialer(insecure.NewCredentials())
	if err != nil {
		t.Fatal(err)
	}
	defer d.close()
	if _, err := d.dial(t.Context(), addr); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("dial: %v, want that the connection is refused", err)
	}
}
