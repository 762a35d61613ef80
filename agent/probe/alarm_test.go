package probe

import (
	"os"
	"sync"
	"testing"
	"time"
)

// Whatever may end a wait ends it; the time that none of these waits for is long
// enough to fail the test by its own limit.
func TestAlarm(t *testing.T) {
	a, err := newAlarm()
	if err != nil {
		t.Fatal(err)
	}
	if a.wait(time.Millisecond) || a.wait(0) || a.wait(-time.Second) {
		t.Error("time was taken for a socket")
	}
	a.ring()
	if a.wait(time.Hour) {
		t.Error("a ring before the wait was taken for a socket")
	}
	var ringing sync.WaitGroup
	ringing.Go(func() {
		time.Sleep(time.Millisecond)
		a.ring()
	})
	if a.wait(time.Hour) {
		t.Error("a ring was taken for a socket")
	}
	ringing.Wait()

	from, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	var watching sync.WaitGroup
	watching.Go(func() { a.watch(from) })
	a.wait(time.Hour) // the beginning counts: something may be there already
	for range 3 {
		if _, err := to.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if !a.wait(time.Hour) {
			t.Error("a socket that can be read did not count")
		}
	}
	from.Close()
	watching.Wait()
	a.close()
	a.ring() // too late, and harmless
	a.wait(time.Hour)
}
