package keeper

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/detnet/detnet/test/sandbox/enter"
)

// forward accepts connections from the host and connects each to addr inside
// the target's network namespace, until listener is closed.
func forward(ctx context.Context, listener net.Listener, target enter.Target, addr string) {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			go relay(ctx, conn, target, addr)
		}
	}
}

func relay(ctx context.Context, client net.Conn, target enter.Target, addr string) {
	defer client.Close()
	server, err := target.Dial(ctx, "tcp", addr)
	if err != nil {
		return // the client sees its connection closed
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { copyHalf(server, client) })
	both.Go(func() { copyHalf(client, server) })
	both.Wait()
}

// copyHalf copies one direction and passes its end on.
func copyHalf(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if c, ok := to.(*net.TCPConn); ok && err == nil {
		_ = c.CloseWrite()
		return
	}
	to.Close()
	from.Close()
}
