// Package await is how tests wait for what others do in their own time: the kernel, an
// API server, another goroutine.
package await

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

const (
	// pause is between two looks.
	pause = 10 * time.Millisecond
	// patience is for how long is looked before a test fails, and most of it what one look and the
	// pause after it take: in the time that a machine stood still, nobody else did anything either.
	patience = 5 * time.Minute
	most     = time.Second
)

// Until looks again and again until something holds, and fails the test where it never does.
func Until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	Success(t, what, func() error {
		if holds() {
			return nil
		}
		return errNot
	})
}

var errNot = errors.New("it never was so")

// Success tries again and again until something succeeds, and fails the test with the last
// error where it never does.
func Success(t testing.TB, what string, try func() error) {
	t.Helper()
	var err error
	for waited := time.Duration(0); waited < patience; {
		began := time.Now()
		if err = try(); err == nil {
			return
		}
		time.Sleep(pause)
		waited += min(time.Since(began), most)
	}
	t.Fatalf("%s: %v", what, err)
}

// Within is for what has to end in time: its context ends once d has passed in which this process had
// the machine. A look that comes late counts as one in time.
func Within(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancelCause(parent)
	go func() {
		timer := time.NewTimer(pause)
		defer timer.Stop()
		for range d / pause {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
				timer.Reset(pause)
			}
		}
		stop(context.DeadlineExceeded)
	}()
	return ctx, func() { stop(nil) }
}

// Read reads what somebody sends, and fails the test where nothing ever comes.
func Read(t testing.TB, what string, from net.Conn, into []byte) (n int) {
	t.Helper()
	Success(t, what, func() (err error) {
		if err = from.SetReadDeadline(time.Now().Add(most)); err == nil {
			n, err = from.Read(into)
		}
		return err
	})
	return n
}

// Unhurried runs f by a clock that a busy machine does not move: what is ended because it takes too
// long, as a policy is, takes no time by it.
func Unhurried(t testing.TB, f func(ctx context.Context)) {
	t.Helper()
	if t, is := t.(*testing.T); is {
		synctest.Test(t, func(t *testing.T) { f(t.Context()) })
		return
	}
	f(t.Context())
}
