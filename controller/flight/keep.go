package flight

import (
	"reflect"
	"time"
)

// keep copies v for the recorder, and says how many octets it takes. Times
// become what they are after the recorder's epoch by the monotonic clock, as the
// law saw them: the wall clock may be set in between.
func keep[T any](r *Recorder, v T) (kept T, octets int) {
	octets = r.copy(reflect.ValueOf(&kept).Elem(), reflect.ValueOf(&v).Elem())
	return kept, octets + int(reflect.TypeFor[T]().Size())
}

// copy returns the octets that to refers to.
func (r *Recorder) copy(to, from reflect.Value) int {
	octets := 0
	switch from.Kind() {
	case reflect.Struct:
		if t, ok := from.Addr().Interface().(*time.Time); ok {
			to.Set(reflect.ValueOf(r.wall(*t)))
			return 0
		}
		for i := range from.NumField() {
			octets += r.copy(to.Field(i), from.Field(i))
		}
	case reflect.Slice:
		if from.IsNil() {
			return 0
		}
		to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
		octets = from.Len() * int(from.Type().Elem().Size())
		for i := range from.Len() {
			octets += r.copy(to.Index(i), from.Index(i))
		}
	case reflect.String:
		to.Set(from)
		octets = from.Len()
	default:
		to.Set(from)
	}
	return octets
}

// wall is the time that everybody else calls t.
func (r *Recorder) wall(t time.Time) time.Time {
	if t.IsZero() || r.epoch.IsZero() {
		return time.Time{}
	}
	return r.epoch.Round(0).UTC().Add(t.Sub(r.epoch))
}
