package netpol

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"

	"github.com/detnet/detnet/workload/ask"
)

// scene is a namespace as it is.
type scene struct {
	name   string
	labels map[string]string // of the namespace
	pods   []*pod            // that have a class
	others []*policy         // not made by detnet
	have   []*policy         // made by detnet
	cilium ciliumConfig
}

// wanted is a policy that pods should have. Where they should have different
// ones of one name, all rules are in force.
type wanted struct {
	name  string
	pod   *pod // one of them
	rules []wantedRule
}

type wantedRule struct {
	rule
	yields bool
}

// put is a policy as it should be, and how that came.
type put struct {
	name   string
	rules  []rule
	yields bool
	pod    *pod       // whose Events tell of it; nil where no pod was asked about
	held   directions // in which it was not to open what others close
}

// plan is what to do in a namespace. Held holds the policies of which nothing is
// left to make.
type plan struct {
	put    []put
	held   []put
	remove []*policy
	unused []*policy // to be removed if they stay so for a while
}

// collect adds what a pod should have.
func collect(to map[string]*wanted, p *pod, policies []ask.Policy) error {
	for _, decided := range policies {
		r, err := readRule(decided.Spec)
		if err != nil {
			return err
		}
		w := to[decided.Name]
		if w == nil {
			w = &wanted{name: decided.Name, pod: p}
			to[decided.Name] = w
		}
		if !slices.ContainsFunc(w.rules, func(have wantedRule) bool { return reflect.DeepEqual(have.rule, r) }) {
			w.rules = append(w.rules, wantedRule{r, decided.Yields})
		}
	}
	return nil
}

// decide is the plan of a namespace. Incomplete says that not everything wanted
// is known: then nothing is removed but what opens something. Off says that
// nothing is to be there.
func (s *scene) decide(want map[string]*wanted, incomplete, off bool) plan {
	var p plan
	if off {
		p.remove = s.have
		return p
	}
	siteCloses := ownClosing(want)
	for _, name := range sortedKeys(want) {
		w := want[name]
		made := put{name: name, pod: w.pod}
		for _, r := range w.rules {
			made.yields = made.yields || r.yields
			left := r.rule
			if r.yields {
				d := s.closedTo(r.rule, siteCloses)
				made.held = made.held.or(d)
				left = r.without(d)
			}
			if left != nil {
				made.rules = append(made.rules, left)
			}
		}
		slices.SortFunc(made.rules, func(a, b rule) int { return strings.Compare(a.text(), b.text()) })
		if len(made.rules) > 0 {
			p.put = append(p.put, made)
		} else {
			p.held = append(p.held, made)
		}
	}
	for _, have := range s.have {
		if !slices.ContainsFunc(p.put, func(m put) bool { return m.name == have.Name }) {
			s.leftOver(&p, have, want[have.Name] != nil, incomplete)
		}
	}
	return p
}

// leftOver decides about a policy that is there and not to be made.
func (s *scene) leftOver(p *plan, have *policy, held, incomplete bool) {
	switch {
	case held:
		p.remove = append(p.remove, have)
	case incomplete:
		s.yieldBlindly(p, have)
	case s.selectsAny(have) || len(s.others) > 0 || s.cilium.closed():
		p.remove = append(p.remove, have)
	default:
		p.unused = append(p.unused, have)
	}
}

// yieldBlindly takes away what a policy opens, though whether it is still
// wanted is not known.
func (s *scene) yieldBlindly(p *plan, have *policy) {
	if !have.yields() {
		return
	}
	left := put{name: have.Name, yields: true}
	for _, r := range have.rules {
		d := s.closedTo(r, nil)
		left.held = left.held.or(d)
		if r = r.without(d); r != nil {
			left.rules = append(left.rules, r)
		}
	}
	switch {
	case len(left.rules) == 0:
		p.remove = append(p.remove, have)
	case left.held != directions{}:
		p.put = append(p.put, left)
	}
}

// closedTo are the directions in which others restrict a pod that r selects.
func (s *scene) closedTo(r rule, site []closing) directions {
	var out directions
	c, ok := r.closes()
	if !ok {
		return out
	}
	if s.cilium.always || s.cilium.denies && !(c.ingress || c.egress) {
		return directions{true, true}
	}
	for _, pod := range s.pods {
		x := s.subject(pod)
		if !maySelect(c.who, x) {
			continue
		}
		for _, other := range s.others {
			out = out.or(other.concerns(x))
		}
		for _, c := range site {
			if maySelect(c.who, x) {
				out = out.or(c.directions)
			}
		}
	}
	return out
}

func (s *scene) subject(p *pod) subject { return subject{s.name, p.Labels, s.labels} }

func (s *scene) selectsAny(have *policy) bool {
	return slices.ContainsFunc(s.pods, func(p *pod) bool {
		return slices.ContainsFunc(have.rules, func(r rule) bool {
			c, ok := r.closes()
			return ok && maySelect(c.who, s.subject(p))
		})
	})
}

// ownClosing is what the site's own rules close: those that yield don't open it
// either.
func ownClosing(want map[string]*wanted) []closing {
	var out []closing
	for _, w := range want {
		for _, r := range w.rules {
			if c, ok := r.closes(); ok && !r.yields && c.directions != (directions{}) {
				out = append(out, c)
			}
		}
	}
	return out
}

// text is the rule as JSON, with its keys in order.
func (r rule) text() string {
	raw, _ := json.Marshal(r) // it came from JSON
	return string(raw)
}
