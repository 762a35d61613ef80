// Package blame says where an app's trouble is looked for: at the uplink of its own
// node, at that of the node its late probes come from, or in the cluster as a
// whole; who was tried without effect, and for how long nobody is tried then.
package blame

import (
	"slices"
	"time"

	"github.com/detnet/detnet/controller/plan"
	"github.com/detnet/detnet/controller/sense"
)

// Config says for how long an app is let be when nothing helps it: Backoff, and
// twice as long each time up to MaxBackoff.
type Config struct {
	// Backoff is how long an app is let be once cuts did not help it; it doubles
	// each time.
	Backoff time.Duration `yaml:"backoff"`
	// MaxBackoff bounds that.
	MaxBackoff time.Duration `yaml:"maxBackoff"`
	// HarmShare is the share of what they would use below which the senders behind
	// a bottleneck count as harmed on account of the app that they were cut for.
	HarmShare float64 `yaml:"harmShare"`
	// Harm is for how long one app may harm others, if no agent beside it sees its
	// trouble too: then limits are as before, and it is let be.
	Harm time.Duration `yaml:"harm"`
	// HarmWindow is the time in which Harm is earned again.
	HarmWindow time.Duration `yaml:"harmWindow"`
}

// Diagnosis is where the trouble of an app is looked for.
type Diagnosis struct {
	App        plan.PodID
	Bottleneck plan.Bottleneck   // zero: it is not known yet, and nobody is cut for it
	Also       []plan.Bottleneck // uplinks across which it is late as well; Apart
	Apart      bool              // each is judged by the way across it alone
	Tried      []plan.Bottleneck // others that were of no help in the present trouble
	InVain     bool              // somebody was cut in it without effect
	Afar       bool              // the nodes it is measured from are late towards others as well
	Since      time.Time         // last in trouble
	Late       time.Time         // since when it is late from wherever it is measured, without a look at which it was clear from somewhere, or late on the way back alone; zero: it is not

	// No bottleneck is to blame: cuts did not help anywhere. Until RetryAt
	// the app is not acted upon, unless it gets much worse than Level.
	RetryAt time.Time
	Backoff time.Duration
	Level   time.Duration
	Spent   bool // it is let be because of Harm: no trouble is bad enough

	Harm time.Duration // for which others were harmed, less what was earned again
	Seen time.Time     // up to when it was earned
}

// Key is the app.
func (s Diagnosis) Key() plan.PodID { return s.App }

// lasting is for how long a diagnosis outlives the trouble.
const lasting = 3 * time.Second

// letBe reports whether an app in trouble is left alone for now, because
// nothing that could be cut helped it.
func (s *Diagnosis) letBe(v *sense.Verdict, now time.Time) bool {
	if s.Spent || v.Worst.Samples == 0 { // nothing but loss: there is no worse
		return now.Before(s.RetryAt)
	}
	return now.Before(s.RetryAt) && v.Worst.Median < 2*s.Level+v.Allow
}

// diagnose says for every app where its trouble is looked for: kept while it
// lasts, chosen by evidence when it starts, and again while nobody is behind it.
// Apps, those that are late by what is Afar, those for whom everybody is not to be cut yet,
// and what is known of them are in the order of their PodID.
func diagnose(known []Diagnosis, behind func(plan.Bottleneck) bool, verdicts []sense.Verdict, afar, unsure []plan.PodID, sending Sending, now time.Time) []Diagnosis {
	next := make([]Diagnosis, 0, len(verdicts))
	for i := range verdicts {
		v := &verdicts[i]
		s := Diagnosis{App: v.App.Pod, Bottleneck: plan.Uplink(v.App.Node), Seen: now}
		trouble := !v.App.SLO.IsZero() && sense.Crosses(v.App) && (v.Standing || v.Lossy)
		if trouble {
			if s.Afar = contains(afar, s.App); everywhere(v) {
				s.Late = now
			}
			s.Bottleneck = candidates(v, s.Afar, sending)[0]
			s.part(ends(v, sending))
			if s.Bottleneck.Whole && contains(unsure, s.App) {
				s.Bottleneck = plan.Bottleneck{}
			}
		}
		if k, found := plan.FindNear(known, s.App, i); found {
			if trouble && !everywhere(v) && v.Paths.LateFrom != 0 && v.Paths.ClearFrom == 0 { // it may still be
				s.Late = known[k].Late
			}
			s.goOn(&known[k], behind, trouble && known[k].cleared(v), now)
		}
		if trouble || v.Trouble() && now.Sub(s.Since) < lasting {
			s.Since = now
		}
		next = append(next, s)
	}
	return next
}

func contains(apps []plan.PodID, app plan.PodID) bool {
	_, found := slices.BinarySearchFunc(apps, app, plan.PodID.Compare)
	return found
}

// goOn takes over what still holds of an older diagnosis; cleared says that it is not of
// the trouble that is left.
func (s *Diagnosis) goOn(old *Diagnosis, behind func(plan.Bottleneck) bool, cleared bool, now time.Time) {
	anew := *s
	*s = *old
	s.Afar, s.Late = anew.Afar, anew.Late
	if !old.Late.IsZero() && !anew.Late.IsZero() {
		s.Late = old.Late
	}
	if s.Apart && cleared {
		s.Also, s.Apart = nil, false
		cleared = !slices.Contains(s.Tried, anew.Bottleneck)
	}
	if cleared || anew.Afar && len(s.Tried) == 0 && !s.Apart { // of several that are full each has a say of its own
		s.Bottleneck = anew.Bottleneck
	}
	if anew.Apart {
		s.part(anew.blamed())
	}
	if !s.RetryAt.IsZero() && now.Sub(s.RetryAt) > s.Backoff {
		s.RetryAt, s.Backoff, s.Spent = time.Time{}, 0, false
	}
	if now.Sub(s.Since) >= lasting || !behind(s.Bottleneck) {
		s.Bottleneck, s.Also, s.Apart, s.Tried, s.InVain = anew.Bottleneck, anew.Also, anew.Apart, nil, false
	}
}

// part has an app blame each of some uplinks that was not tried in vain.
func (s *Diagnosis) part(ends []plan.Bottleneck) {
	for _, b := range ends {
		switch {
		case s.blames(b) && s.Apart, slices.Contains(s.Tried, b):
		case !s.Apart:
			s.Bottleneck, s.Apart = b, true
		default:
			s.Also = append(slices.Clip(s.Also), b)
		}
	}
}

// blames reports whether an app's trouble is looked for at a bottleneck.
func (s *Diagnosis) blames(b plan.Bottleneck) bool {
	return s.Bottleneck == b || slices.Contains(s.Also, b)
}

func (s *Diagnosis) blamed() []plan.Bottleneck {
	return append([]plan.Bottleneck{s.Bottleneck}, s.Also...)
}

// leave has an app that blames several uplinks blame one of them no more, and reports whether it
// is late by another.
func (s *Diagnosis) leave(b plan.Bottleneck, v *sense.Verdict) bool {
	if len(s.Also) == 0 {
		return false
	}
	left := slices.DeleteFunc(s.blamed(), func(x plan.Bottleneck) bool { return x == b })
	s.Bottleneck, s.Also = left[0], left[1:]
	s.Tried = append(slices.Clip(s.Tried), b)
	return !s.cleared(v)
}

// cleared reports whether the trouble that an app is left with is of nothing that it blames.
func (s *Diagnosis) cleared(v *sense.Verdict) bool {
	if !s.Apart {
		return clears(v, s.Bottleneck) || len(s.Tried) == 0 && sideways(v, s.Bottleneck)
	}
	return !slices.ContainsFunc(s.blamed(), func(b plan.Bottleneck) bool { return across(v, b) })
}

// concerns reports whether an app has a say in a bottleneck: it is measured
// across it, and does not blame another one for trouble it has.
func (s *Diagnosis) concerns(b plan.Bottleneck, app *plan.App, violated bool) bool {
	if app.SLO.IsZero() || !sense.Crosses(app) {
		return false
	}
	if s.blames(b) {
		return true
	}
	if violated {
		return false
	}
	if b.Whole || b.Node == app.Node {
		return true
	}
	return slices.ContainsFunc(app.Sessions, func(x plan.Session) bool { return b.Node == x.Vantage })
}

// move takes a diagnosis from a bottleneck to the next candidate, and returns it; or lets
// everyone be for a while, longer each time, if cuts were tried at all.
func (s *Diagnosis) move(c Config, from plan.Bottleneck, v *sense.Verdict, sending Sending, tried bool, now time.Time) (next plan.Bottleneck, moved bool) {
	s.InVain = s.InVain || tried
	if s.leave(from, v) {
		return next, false
	}
	elsewhere := candidates(v, s.Afar, sending)
	if !v.Standing && !v.Lossy { // a packet that is late now and then does not say where it waited
		elsewhere = nil
	}
	for _, name := range elsewhere {
		if name != s.Bottleneck && !slices.Contains(s.Tried, name) {
			s.Tried = append(slices.Clip(s.Tried), s.Bottleneck)
			s.Bottleneck = name
			return name, true
		}
	}
	if !s.InVain {
		return next, false
	}
	s.Bottleneck, s.Level = plan.Uplink(v.App.Node), max(v.Worst.Median, v.Worst.Tail)
	s.backOff(c, 4*v.Lag, false, now)
	return next, false
}

// backOff has the app let be from now on, for longer each time and least at the least.
func (s *Diagnosis) backOff(c Config, least time.Duration, spent bool, now time.Time) {
	s.Backoff = max(min(max(2*s.Backoff, c.Backoff), c.MaxBackoff), least)
	s.RetryAt, s.Spent = now.Add(s.Backoff), spent
	s.Also, s.Apart, s.Tried, s.InVain = nil, false, nil, false
}

// charge counts for how long others were harmed on account of the app. Once that is
// as long as it may be the app is let be, for longer each time, however late it is;
// charge then reports true. In t it comes to no more than Harm × (1 + t/HarmWindow).
func (s *Diagnosis) charge(c Config, cost time.Duration, now time.Time) (spent bool) {
	earned := time.Duration(float64(now.Sub(s.Seen)) * float64(c.Harm) / float64(c.HarmWindow))
	s.Harm, s.Seen = max(s.Harm-max(earned, 0), 0)+cost, now
	switch {
	case s.Spent && now.Before(s.RetryAt): // as another bottleneck has found
		return true
	case s.Harm < c.Harm:
		return false
	}
	s.backOff(c, 0, true, now)
	return true
}
