// Package enter runs code and commands inside the namespaces of another
// process.
package enter

import (
	"context"
	"fmt"
	"net"
)

// Target is the /proc folder of a process, as the caller sees it. One process
// may be seen through the /proc of another: /proc/12/root/proc/34.
type Target string

// Process is the target with the given id in the caller's PID namespace.
func Process(pid int) Target { return Target(fmt.Sprintf("/proc/%d", pid)) }

// Child is the process that t sees, in its own mount of /proc, under pid.
func (t Target) Child(pid int) Target {
	return Target(fmt.Sprintf("%s/root/proc/%d", t, pid))
}

// Dial connects from inside the target's network namespace. The address must be
// an IP address and port: names would be looked up with the host's resolver.
func (t Target) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if net.ParseIP(host) == nil {
		return nil, fmt.Errorf("dial %s: %q is no IP address", addr, host)
	}
	var conn net.Conn
	err = t.Net(func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}
