//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/detnet/detnet/agent/probe"
	"github.com/detnet/detnet/workload"
)

// How one size is tried: what is lost may have been lost for another reason.
const (
	triesOfSize  = 3
	tryInterval  = 20 * time.Millisecond
	leastWait    = 5 * tryInterval // for an answer: a shorter --timeout would take a moment without processor for a size that does not pass
	mostTries    = 10              // of a size, where this host stands still meanwhile
	leastMTU     = 576             // of IPv4: what every host takes (RFC 791)
	leastMTUSix  = 1280            // of IPv6 (RFC 8200 §5)
	everyPathMTU = 68              // that IPv4 passes without fragments
)

// findMTU searches, for each session, for the longest packet that is answered.
func findMTU(ctx context.Context, sessions []probe.Session, opts probe.Options, out io.Writer) error {
	sender := probe.NewSender(opts)
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	finished := make(chan error, 1)
	go func() { finished <- sender.Run(running) }()
	var errs []error
	for _, s := range sessions {
		if err := findMTUOf(ctx, sender, s, out); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.ID, err))
		}
	}
	stop()
	return errors.Join(errors.Join(errs...), <-finished)
}

func findMTUOf(ctx context.Context, sender *probe.Sender, s probe.Session, out io.Writer) error {
	s.DontFragment, s.Count, s.Interval, s.Timeout = true, triesOfSize, tryInterval, max(s.Timeout, leastWait)
	first := s
	first.ID = "as short as may be"
	seen, err := try(ctx, sender, first)
	if err != nil {
		return err
	}
	if !answered(seen) {
		return asFinding(errors.Join(errNoAnswer, seen.Err))
	}
	low, local := leastMTU, interfaceMTU(ctx, seen)
	if seen.Addr.Addr().Is6() {
		low = leastMTUSix
	}
	high := min(local, probe.MaxSize)
	answers := func(size int) (bool, error) {
		s.ID, s.Size = strconv.Itoa(size), size
		seen, err := try(ctx, sender, s)
		return answered(seen), err
	}
	if ok, err := answers(min(low, high)); err != nil || !ok {
		if err == nil {
			err = found("packets of %d octets are not answered: does the reflector answer long ones at all?", min(low, high))
		}
		return err
	}
	low = min(low, high)
	for low < high {
		size := (low + high + 1) / 2
		if high == local {
			size = high // most often it is this one
		}
		ok, err := answers(size)
		switch {
		case err != nil:
			return err
		case ok:
			low = size
		default:
			high = size - 1
		}
	}
	_, err = fmt.Fprintf(out, "%s (%v): path MTU %d octets; the interface here takes %d\n", s.Host, seen.Addr.Addr(), low, local)
	return err
}

// answered reports whether a packet passed: an answer that comes too late says so too.
func answered(r probe.Result) bool { return r.Totals.Received+r.Totals.Late > 0 }

// try sends the packets of one session and waits for their fate. That nothing was answered
// says nothing of the path where this host stood still for half the time that an answer had:
// then it sends others.
func try(ctx context.Context, sender *probe.Sender, s probe.Session) (seen probe.Result, err error) {
	id := s.ID
	for n := range mostTries {
		var still time.Duration
		s.ID = fmt.Sprintf("%s, try %d", id, n+1)
		seen, still, err = tryOnce(ctx, sender, s)
		if err != nil || answered(seen) || still < s.Timeout/2 {
			break
		}
	}
	return seen, err
}

// tryOnce also returns for how long this program had no processor at most.
func tryOnce(ctx context.Context, sender *probe.Sender, s probe.Session) (seen probe.Result, still time.Duration, err error) {
	if err := sender.Assign([]probe.Session{s}); err != nil {
		return seen, 0, unusable{err}
	}
	var unopened *probe.OpenError
	ticker := time.NewTicker(tryInterval)
	defer ticker.Stop()
	for looked := time.Now(); ; {
		select {
		case <-ctx.Done():
			return seen, still, ctx.Err()
		case <-ticker.C:
		}
		sender.Collect(func(r probe.Result) { seen = r })
		now := time.Now()
		still, looked = max(still, now.Sub(looked)), now
		switch {
		case answered(seen), seen.Totals.Sent >= s.Count && seen.Open == 0:
			return seen, still, nil
		case errors.Is(seen.Err, unix.EMSGSIZE):
			return seen, still, nil // the interface or a router says so: no need to wait
		case errors.As(seen.Err, &unopened):
			return seen, still, unusable{seen.Err}
		case seen.Failures >= patience:
			return seen, still, found("gave up after %d tries: %w", seen.Failures, seen.Err)
		}
	}
}

// interfaceMTU is what the route to the target takes, by this host's tables.
func interfaceMTU(ctx context.Context, r probe.Result) int {
	network, level, option := "udp4", unix.IPPROTO_IP, unix.IP_MTU
	if r.Addr.Addr().Is6() {
		network, level, option = "udp6", unix.IPPROTO_IPV6, unix.IPV6_MTU
	}
	port := r.Addr.Port()
	if r.Session.Protocol == workload.ICMP {
		port = workload.STAMPPort // nothing is sent to it
	}
	fallback := 65535
	conn, err := (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(r.Addr.Addr().String(), strconv.Itoa(int(port))))
	if err != nil {
		return fallback
	}
	defer conn.Close()
	raw, err := conn.(*net.UDPConn).SyscallConn()
	if err != nil {
		return fallback
	}
	mtu := 0
	if err := raw.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), level, option) }); err != nil || mtu < everyPathMTU {
		return fallback
	}
	return mtu
}
