package await

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// failing takes down what a test was failed with.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// fails waits as a test would, and returns what it was failed with.
func fails(wait func(t testing.TB)) string {
	f, done := &failing{}, make(chan struct{})
	go func() {
		defer close(done)
		wait(f)
	}()
	<-done
	return f.said
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if said := fails(func(t testing.TB) { Until(t, "an hour passes", func() bool { return time.Since(began) > time.Hour }) }); !strings.Contains(said, "an hour passes") {
			t.Errorf("failed with %q: want what was waited for", said)
		}
		began = time.Now()
		if said := fails(func(t testing.TB) { Until(t, "minutes pass", func() bool { return time.Since(began) > patience/2 }) }); said != "" {
			t.Error(said)
		}
		if said := fails(func(t testing.TB) { Success(t, "a try", func() error { return errors.New("why not") }) }); said != "a try: why not" {
			t.Errorf("failed with %q: want the last error", said)
		}
	})
}

// What hangs is ended, in time that the machine had.
func TestWithin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		ctx, stop := Within(t.Context(), 30*time.Second)
		defer stop()
		<-ctx.Done()
		if took := time.Since(began); took != 30*time.Second || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
			t.Errorf("ended after %v: %v", took, context.Cause(ctx))
		}
		ctx, stop = Within(t.Context(), 30*time.Second)
		stop()
		synctest.Wait()
		if time.Since(began) != 30*time.Second || ctx.Err() == nil {
			t.Error("it goes on")
		}
	})
}

// A machine that stands still for minutes, as one does that is moved to another, is waited for.
func TestUntilAMachineGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		said := fails(func(t testing.TB) {
			Until(t, "it goes on", func() bool {
				if looks++; looks == 2 {
					time.Sleep(2 * patience)
				}
				return looks == 5
			})
		})
		if said != "" {
			t.Error(said)
		}
	})
}
