package probe

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/detnet/detnet/workload"
)

const ms = time.Millisecond

func watched(protocol workload.Protocol) *session {
	return newSession(Session{ID: "a", Protocol: protocol, Interval: DefaultInterval, Timeout: DefaultTimeout, Late: Late{Above: ms, RTT: 10 * ms}}, 1, 0, 0)
}

// noted reports whether somebody is told of a session by itself as a round trip comes.
func noted(s *session, rtt time.Duration, now int64) bool {
	sender := NewSender(Options{})
	if s.note(rtt, now) {
		sender.hurried([]*session{s}, now)
	}
	select {
	case <-sender.Urgent():
		return true
	default:
		return false
	}
}

// pair is a session of an app, and its node session.
func pair(t *testing.T) (sender *Sender, app, beside *session) {
	sender = NewSender(Options{})
	if err := sender.Assign([]Session{
		{ID: "app", Protocol: workload.UDP, Host: "127.0.0.1", Port: 9, Late: Late{Above: ms}, NodeSession: "beside"},
		{ID: "beside", Protocol: workload.UDP, Host: "127.0.0.1", Port: 10},
	}); err != nil {
		t.Fatal(err)
	}
	return sender, sender.sessions[0], sender.sessions[1]
}

// What is late by half of what is allowed is told of once, again once it was not, and hurried for by nobody.
func TestHalfIsToldAndNotHurriedFor(t *testing.T) {
	const half = 900 * time.Microsecond
	sender, app, beside := pair(t)
	told := func(rtts ...time.Duration) bool {
		for _, rtt := range rtts {
			beside.note(rtt, 1)
			if app.note(rtt, 1) {
				sender.hurried([]*session{app}, 1)
			}
		}
		select {
		case <-sender.Urgent():
			return true
		default:
			return false
		}
	}
	const free = 300 * time.Microsecond
	switch {
	case told(free, free, half):
		t.Error("one packet is told of")
	case !told(half):
		t.Error("two packets of both are not told of")
	case told(half, half, half):
		t.Error("it is told of twice")
	case told(free, free, free, free) || !told(half, half):
		t.Error("it is not told of again")
	case app.hurry.until != 0 || beside.hurry.until != 0:
		t.Error("it is hurried for")
	}
}

// A late packet is followed by the next, of the session and of its node session, as soon as it is while
// they hurry; one that is late by half only is not, nor one of a path that has been late for long.
func TestALatePacketIsLookedAtCloser(t *testing.T) {
	for _, tt := range []struct {
		what   string
		rtt    time.Duration
		before time.Duration // for which it was late before
		want   bool
	}{
		{"late", 5 * ms, 0, true}, {"late by half", 900 * time.Microsecond, 0, false}, {"late for long", 5 * ms, 2 * hurryTime, false},
	} {
		sender, app, beside := pair(t)
		const usual = int64(time.Hour)
		now := int64(time.Minute)
		app.note(300*time.Microsecond, now)
		for end := now + int64(tt.before); now < end; now += int64(20 * ms) {
			if app.note(5*ms, now) {
				sender.hurried([]*session{app}, now)
			}
		}
		app.due, beside.due, app.newest = usual, usual, now-int64(ms)
		if app.note(tt.rtt, now) {
			sender.hurried([]*session{app}, now)
		}
		for _, each := range []*session{app, beside} {
			if soon := each.due < usual; soon != tt.want {
				t.Errorf("after a packet that was %s the next of %s is sent sooner: %v", tt.what, each.ID, soon)
			}
		}
		if gap := time.Duration(app.due - app.newest); tt.want && gap != hurryLeast {
			t.Errorf("the next comes %v after the newest, want %v", gap, hurryLeast)
		}
	}
}

// What is allowed is no less than a twentieth of a round trip that is, as the controller has it.
func TestWhatIsAllowed(t *testing.T) {
	for _, tt := range []struct {
		late        Late
		least, want time.Duration
	}{
		{Late{Above: ms}, 5 * ms, ms}, {Late{RTT: 10 * ms}, 2 * ms, 8 * ms}, {Late{Above: ms, RTT: 10 * ms}, 2 * ms, ms},
		{Late{Above: ms, RTT: 10 * ms}, 97 * ms / 10, ms / 2}, {Late{Above: ms, RTT: 10 * ms}, 11 * ms, ms / 2},
		{Late{RTT: 10 * ms}, 11 * ms, -ms},
	} {
		s := newSession(Session{ID: "a", Interval: DefaultInterval, Timeout: DefaultTimeout, Late: tt.late}, 1, 0, 0)
		if s.note(tt.least, 1); s.allowed() != tt.want {
			t.Errorf("%+v above %v: %v, want %v", tt.late, tt.least, s.allowed(), tt.want)
		}
	}
}

// Neither a target that fails nor one of handshakes is asked more often.
func TestWhoFailsIsNotLookedAtCloser(t *testing.T) {
	for name, of := range map[string]func() *session{
		"that fails":    func() *session { s := watched(workload.UDP); s.backoff = time.Second; return s },
		"of handshakes": func() *session { return watched(workload.TCP) },
	} {
		s, now := of(), int64(time.Minute)
		s.due = now + int64(time.Second)
		if s.again(now); s.due != now+int64(time.Second) {
			t.Errorf("a session %s is sent %v later", name, time.Duration(s.due-now))
		}
	}
}

// Three late packets of four are told once, until the path has been free again.
func TestLateIsToldOnce(t *testing.T) {
	s, now := watched(workload.UDP), int64(0)
	told := func(rtts ...time.Duration) (n int) {
		for _, rtt := range rtts {
			if now += int64(20 * ms); noted(s, rtt, now) {
				n++
			}
		}
		return n
	}
	const free, late = 300 * time.Microsecond, 5 * ms
	for _, step := range []struct {
		what string
		rtts []time.Duration
		want int
	}{
		{"a free path", []time.Duration{free, free, free, free}, 0},
		{"two late packets", []time.Duration{late, late, free, free}, 0},
		{"three of four", []time.Duration{late, late, free, late}, 1},
		{"still late", []time.Duration{late, late, late, late, late}, 0},
		{"free, and late again at once", []time.Duration{free, free, free, free, late, late, late}, 1},
	} {
		if got := told(step.rtts...); got != step.want {
			t.Errorf("%s: told %d times, want %d", step.what, got, step.want)
		}
	}
	now += int64(hurryTime + hurryRest)
	if told(free, free, free, free) != 0 || told(late, late, late) != 1 {
		t.Error("after a rest it is not told again")
	}
	if never := newSession(Session{ID: "b", Interval: DefaultInterval, Timeout: DefaultTimeout}, 2, 0, 0); never.note(time.Hour, 1) {
		t.Error("a session without an allowance is late")
	}
}

// After a route has become longer by more than is allowed, what is as long as that is late
// for some minutes, and then calm again; and an alarm is told anew.
func TestALongerRouteIsNotLateForEver(t *testing.T) {
	s, told := watched(workload.UDP), 0
	run := func(from, to time.Duration, rtt time.Duration) {
		for at := from; at < to; at += time.Second {
			if s.restless = false; noted(s, rtt, int64(at)) {
				told++
			}
		}
	}
	run(0, time.Minute, ms)
	run(time.Minute, 9*time.Minute, 3*ms)
	if told != 1 || !s.restless {
		t.Errorf("told %d times of what is late for minutes, worth telling %v", told, s.restless)
	}
	run(9*time.Minute, time.Minute+2*leastSpan, 3*ms)
	if s.restless {
		t.Error("a longer route is worth telling for ever")
	}
	run(time.Minute+2*leastSpan, 2*time.Minute+2*leastSpan, 5*ms)
	if told != 2 {
		t.Errorf("told %d times, want once more of a queue on the longer route", told)
	}
}

// A target of latency alone counts too, whatever the least round trip was.
func TestLateByLatency(t *testing.T) {
	s := newSession(Session{ID: "a", Interval: DefaultInterval, Timeout: DefaultTimeout, Late: Late{RTT: 10 * ms}}, 1, 0, 0)
	told := false
	for i := range 4 {
		told = noted(s, 11*ms, int64(i)) || told
	}
	if !told {
		t.Error("four round trips above the target were not told")
	}
}

// A late session is sent faster for hurryTime, no faster than four times, and one
// of handshakes not at all.
func TestHurry(t *testing.T) {
	s, shake := watched(workload.UDP), watched(workload.TCP)
	s.hasten(0)
	shake.hasten(0)
	for _, tt := range []struct {
		s    *session
		at   time.Duration
		want time.Duration
	}{
		{s, 0, 5 * ms}, {s, hurryTime - 1, 5 * ms}, {s, hurryTime, DefaultInterval}, {shake, 0, DefaultInterval},
	} {
		if got := tt.s.spacing(int64(tt.at)); got != tt.want {
			t.Errorf("%s after %v: a packet each %v, want %v", tt.s.Protocol, tt.at, got, tt.want)
		}
	}
	if in := int(DefaultTimeout / s.hasty()); len(s.slots) < in {
		t.Errorf("room for %d packets in flight, and %d may be", len(s.slots), in)
	}
}

// A node session that is on time says that the host of the app is busy: nobody hurries
// for that. One that was never heard, or not for a while, contradicts nobody.
func TestNodeSessionMustAgree(t *testing.T) {
	const free, late = 300 * time.Microsecond, 5 * ms
	for _, tt := range []struct {
		what        string
		late        int // of the app's newest four
		nodeSession []time.Duration
		after       time.Duration // since the node session was heard last
		want        bool
	}{
		{"on time", 4, []time.Duration{free, free, free, free}, 0, false},
		{"late once", 3, []time.Duration{free, free, late, free}, 0, true},
		{"late before the newest four", 4, []time.Duration{free, late, free, free, free, free}, 0, false},
		{"never heard", 3, nil, 0, true},
		{"never heard, and the app is late twice", 2, nil, 0, false},
		{"on time, a while ago", 3, []time.Duration{free, free}, fresh + 1, true},
		{"late twice, and the app twice", 2, []time.Duration{free, late, late}, 0, true},
		{"late once, and the app twice", 2, []time.Duration{free, free, late}, 0, false},
		{"late once and then on time, and the app twice", 2, []time.Duration{free, late, free}, 0, false},
		{"late twice, and the app once", 1, []time.Duration{free, late, late}, 0, false},
	} {
		sender, app, beside := pair(t)
		app.note(free, 1)
		for range tt.late {
			app.note(late, 1)
		}
		for _, rtt := range tt.nodeSession {
			beside.note(rtt, 1)
		}
		now := 1 + int64(tt.after)
		sender.hurried([]*session{app}, now)
		if hurries := now < app.hurry.until; hurries != tt.want || hurries != (now < beside.hurry.until) {
			t.Errorf("a node session that was %s: the app hurries %v, the node session %v, want %v", tt.what, hurries, now < beside.hurry.until, tt.want)
		}
	}
}

// Answers are read sooner as a path becomes late, and no longer where it stays late and
// nobody is told, for its node session is on time: that may be for ever.
func TestAPathThatStaysLateIsNotReadMoreOften(t *testing.T) {
	sender, app, beside := pair(t)
	for at := time.Duration(0); at < time.Minute; at += 20 * ms {
		now, rtt := int64(at), 300*time.Microsecond
		beside.note(rtt, now)
		if n := at / (20 * ms); n > 4 && n%2 == 0 {
			rtt = 5 * ms
		}
		sender.collects = now + int64(collectEvery)
		if app.note(rtt, now) {
			sender.hurried([]*session{app}, now)
		}
		if app.hurry.until != 0 {
			t.Fatal("it is told of")
		}
		soon := sender.collects < now+int64(collectEvery)
		switch {
		case rtt < ms && soon, at > 2*hurryTime && soon:
			t.Fatalf("after %v, of which the last %v were late: read sooner", at, at-100*ms)
		case rtt > ms && at < hurryTime/2 && !soon:
			t.Fatalf("after %v, as it becomes late: read no sooner", at)
		}
	}
}

// Packets that are late now and then, each by itself, are no queue: who has one in ten of them
// late, here and at the node session, seldom hurries.
func TestNoiseIsNotHurriedFor(t *testing.T) {
	sender, app, beside := pair(t)
	random := rand.New(rand.NewPCG(1, 2))
	rtt := func() time.Duration {
		if random.IntN(10) == 0 {
			return 5 * ms
		}
		return 300 * time.Microsecond
	}
	const long = time.Hour
	hurries := time.Duration(0)
	for now := int64(0); now < int64(long); {
		gap := app.spacing(now)
		now += int64(gap)
		if beside.note(rtt(), now); app.note(rtt(), now) {
			sender.hurried([]*session{app}, now)
		}
		if now < app.hurry.until {
			hurries += gap
		}
	}
	if share := float64(hurries) / float64(long); share > 0.15 {
		t.Errorf("it hurries for %.0f %% of the time", 100*share)
	}
}

// BenchmarkManyLate is how long the loop's lock is held where many sessions are late at once.
func BenchmarkManyLate(b *testing.B) {
	var specs []Session
	for i := range 500 {
		id := "session-" + strconv.Itoa(i)
		specs = append(specs,
			Session{ID: id, Protocol: workload.UDP, Host: "127.0.0.1", Port: 9, Late: Late{Above: ms}, NodeSession: "beside-" + id},
			Session{ID: "beside-" + id, Protocol: workload.UDP, Host: "127.0.0.1", Port: 10})
	}
	sender := NewSender(Options{})
	if err := sender.Assign(specs); err != nil {
		b.Fatal(err)
	}
	var late []*session
	for i, each := range sender.sessions {
		each.note(300*time.Microsecond, 1)
		if i%2 == 0 {
			each.note(5*ms, 1)
			late = append(late, each)
		}
	}
	for b.Loop() {
		sender.hurried(late, 1)
	}
}

// The node session hurries with the session, others do not; new samples are told of for
// as long as anybody hurries.
func TestNodeSessionHurries(t *testing.T) {
	sender := NewSender(Options{})
	specs := []Session{
		{ID: "app", Protocol: workload.UDP, Host: "127.0.0.1", Port: 9, Late: Late{Above: ms}, NodeSession: "beside"},
		{ID: "beside", Protocol: workload.UDP, Host: "127.0.0.1", Port: 10},
		{ID: "other", Protocol: workload.UDP, Host: "127.0.0.1", Port: 11},
	}
	if err := sender.Assign(specs); err != nil {
		t.Fatal(err)
	}
	app, beside, other := sender.sessions[0], sender.sessions[1], sender.sessions[2]
	for _, rtt := range []time.Duration{ms / 4, 5 * ms, 5 * ms, 5 * ms} {
		app.note(rtt, 1)
	}
	sender.hurried([]*session{app}, 1)
	if beside.hurry.until == 0 || other.hurry.until != 0 {
		t.Errorf("the node session hurries until %d, another session until %d", beside.hurry.until, other.hurry.until)
	}
	select {
	case <-sender.Urgent():
	default:
		t.Error("nobody was told")
	}
	end := int64(hurryTime) + 2
	sender.hurried(nil, end)
	select {
	case <-sender.Urgent():
		t.Error("told although nobody hurries")
	default:
	}

	specs[0].Late.Above = 2 * ms
	if err := sender.Assign(specs); err != nil || sender.sessions[0] != app || app.Late.Above != 2*ms {
		t.Errorf("another allowance began the session anew: %v", err)
	}
}
