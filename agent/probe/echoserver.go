package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// ServeEcho returns every datagram that conn receives to its sender, as it is,
// until ctx ends.
func ServeEcho(ctx context.Context, conn *net.UDPConn) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	b := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reflector on %v: %w", conn.LocalAddr(), err)
		}
		_, _ = conn.WriteToUDPAddrPort(b[:n], from) // a packet that cannot go back is lost, and counted so
	}
}
