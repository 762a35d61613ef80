package plan

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An Instant is the time that it was made from, wherever that is looked at: read by the
// monotonic clock or not, by both in one list, and none at all.
func TestInstantIsItsTime(t *testing.T) {
	now := started // by both clocks
	times := rapid.Custom(func(t *rapid.T) time.Time {
		at := now.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(time.Hour)).Draw(t, "ns")))
		switch rapid.IntRange(0, 4).Draw(t, "kind") {
		case 0:
			return time.Time{}
		case 1:
			return at.Round(0)
		case 2:
			return time.Unix(0, 0).Add(at.Sub(now).Abs())
		}
		return at
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := times.Draw(t, "a"), times.Draw(t, "b")
		x, y := At(a), At(b)
		if !x.Time().Equal(a) || x.Time().IsZero() != a.IsZero() || (x == 0) != a.IsZero() {
			t.Fatalf("%v has become %v", a, x)
		}
		if got, want := x.Compare(y), a.Compare(b); got != want {
			t.Errorf("%v compared with %v is %d, want %d", x, y, got, want)
		}
		if x.Before(b) != a.Before(b) || x.After(b) != a.After(b) {
			t.Errorf("%v is before or after %v where its time is not", x, b)
		}
		if got, want := x.Sub(y), a.Sub(b); got != want {
			t.Errorf("%v - %v = %v, want %v", x, y, got, want)
		}
	})
}

// What no Instant is for is before or after all others, and not somewhere among them.
func TestInstantsBeyond(t *testing.T) {
	now := At(started)
	for _, at := range []time.Time{time.Time{}.Add(time.Minute), time.Date(1700, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if x := At(at); x.Compare(now) >= 0 || x.Compare(0) <= 0 {
			t.Errorf("%v has become %v", at, x)
		}
	}
	if x := At(time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC)); x.Compare(now) <= 0 {
		t.Errorf("2500 has become %v", x)
	}
}

// Later by so much is as of its time, by whichever clock.
func TestInstantAdd(t *testing.T) {
	for _, at := range []time.Time{started, started.Round(0)} {
		if got, want := At(at).Add(2*time.Hour), at.Add(2*time.Hour); !got.Time().Equal(want) {
			t.Errorf("two hours after %v is %v", at, got)
		}
	}
}

// There are hundreds of thousands of samples and rates: they are no larger than what they
// say, and hold nothing that the garbage collector would look at.
func TestSamplesAreSmall(t *testing.T) {
	for of, most := range map[reflect.Type]uintptr{reflect.TypeFor[Sample](): 40, reflect.TypeFor[TxRate](): 24} {
		if of.Size() > most {
			t.Errorf("a %v takes %d octets, want %d", of, of.Size(), most)
		}
		for i := range of.NumField() {
			if kind := of.Field(i).Type.Kind(); kind != reflect.Int64 && kind != reflect.Bool {
				t.Errorf("%v.%s is a %v, want a number", of, of.Field(i).Name, kind)
			}
		}
	}
}
