package probe

import (
	"context"
	"net"
)

// ServeEcho returns every datagram that conn receives to its sender, as it is,
// until ctx ends. It is a Reflector with Echo, and refuses what that refuses.
func ServeEcho(ctx context.Context, conn *net.UDPConn) error {
	r, err := NewReflector(conn, ReflectorOptions{Echo: true}, nil)
	if err != nil {
		return err
	}
	return r.Serve(ctx)
}
