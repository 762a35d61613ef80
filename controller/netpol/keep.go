package netpol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
	"github.com/detnet/detnet/workload/ask"
)

// keep makes the policies of a namespace what they should be. An error means
// that it has to be tried again.
func (k *Keeper) keep(ctx context.Context, namespace string) error {
	s := k.known.scene(namespace)
	s.cilium = k.cilium
	off := k.Mode(namespace) != workload.Enforce
	var want map[string]*wanted
	var failed error
	if !off {
		want, failed = k.ask(ctx, s)
	}
	if ctx.Err() != nil {
		return nil //nolint:nilerr // it is not over what was asked, but over
	}
	more := errors.Is(failed, errMore)
	incomplete := failed != nil
	p := s.decide(want, incomplete, off)
	t := told{keeper: k, namespace: namespace}
	if !more {
		t.failure(nil, failed)
	}
	k.sent = 0
	for _, m := range p.put {
		if k.sent >= perLook {
			failed = cmp.Or(failed, errMore)
			break
		}
		t.held(m, true)
		t.unseen(m, s)
		have := s.named(m.name)
		if have != nil && have.refused != "" {
			t.failure(m.pod, fmt.Errorf("CiliumNetworkPolicy %s/%s: Cilium refuses it: %s", namespace, m.name, have.refused))
		}
		if err := k.write(ctx, namespace, m, have); err != nil {
			failed = errors.Join(failed, err)
			t.failure(m.pod, err)
		}
	}
	for _, m := range p.held {
		t.held(m, false)
	}
	if !incomplete { // else it is not known who is unused
		p.remove = append(p.remove, k.due(namespace, p.unused)...)
	}
	k.sent = 0
	for _, have := range p.remove {
		if k.sent >= perLook {
			failed = cmp.Or(failed, errMore)
			break
		}
		if err := k.remove(ctx, have); err != nil {
			failed = errors.Join(failed, err)
			t.failure(nil, err)
		}
	}
	t.done(len(p.put))
	return failed
}

// errMore says that not all kinds of pods of a namespace were asked about yet.
var errMore = errors.New("more pods to ask about")

// ask collects what the pods of a namespace should have, each kind of pod once.
// The error tells of what could not be found out.
func (k *Keeper) ask(ctx context.Context, s *scene) (map[string]*wanted, error) {
	before, now := k.answers[s.name], answers{}
	k.answers[s.name] = now
	want := map[string]*wanted{}
	var failed error
	fresh := 0
	for _, p := range s.pods {
		question := p.question()
		if _, asked := now[question]; asked {
			continue
		}
		answer, ok := before[question]
		if !ok || k.Now().After(answer.until) {
			fresh++
			said, err := k.askOne(ctx, p, fresh)
			switch {
			case errors.Is(err, ErrExempt):
				return nil, nil
			case err != nil:
				failed = cmp.Or(failed, err)
			default:
				answer, ok = remembered{said, k.Now().Add(believed)}, true
			}
		}
		if !ok {
			continue
		}
		now[question] = answer
		if answer.Class != p.class() {
			continue // by the policy set of today it gets another class once it is recreated
		}
		if err := collect(want, p, answer.Policies); err != nil {
			failed = cmp.Or(failed, fmt.Errorf("network policies of pod %s/%s: %w", p.Namespace, p.Name, err))
		}
	}
	return want, failed
}

// askOne asks about a pod, which is the nth of this look.
func (k *Keeper) askOne(ctx context.Context, p *pod, nth int) (ask.Answer, error) {
	if nth > perLook {
		return ask.Answer{}, errMore
	}
	answer, err := k.Asker.Ask(ctx, p.Namespace, p.Name)
	if err != nil {
		return answer, fmt.Errorf("network policies of pod %s/%s: %w", p.Namespace, p.Name, err)
	}
	return answer, nil
}

func (s *scene) named(name string) *policy {
	for _, p := range s.have {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// write makes the policy what it should be, if it is not.
func (k *Keeper) write(ctx context.Context, namespace string, m put, have *policy) error {
	if have != nil && have.yields() == m.yields && have.marked() && reflect.DeepEqual(have.rules, m.rules) {
		return nil
	}
	if have == nil && k.known.taken(namespace, m.name) {
		return fmt.Errorf("CiliumNetworkPolicy %s/%s: there is one of that name that detnet did not make", namespace, m.name)
	}
	c := write.Change{
		Target: target(namespace, m.name), Verb: write.Create, Merge: map[string]any{},
		Labels: map[string]string{managedBy: detnet}, Annotations: map[string]string{workload.AnnotationYields: fmt.Sprint(m.yields)},
		Regards: m.pod.reference(),
	}
	if len(m.rules) == 1 {
		c.Merge["spec"] = m.rules[0]
	} else {
		c.Merge["specs"] = m.rules
	}
	if have != nil {
		c.Verb, c.UID, c.Version = write.Replace, have.UID, have.ResourceVersion
	}
	err := k.send(ctx, c)
	if write.Gone(err) || apierrors.IsAlreadyExists(err) {
		return nil // somebody was faster; what they did comes as an event
	}
	if err == nil {
		k.Log.InfoContext(ctx, "network policy written", "policy", namespace+"/"+m.name, "leaves_alone", m.held.String())
	}
	return err
}

// send pays out of the Keeper's own budget, where there is something to pay for.
func (k *Keeper) send(ctx context.Context, c write.Change) error {
	if !k.To.Refuses(c) {
		k.sent++
		if err := k.budget.Wait(ctx); err != nil {
			return err
		}
	}
	return k.To.Send(ctx, c)
}

func target(namespace, name string) write.Target {
	return write.Target{Kind: "CiliumNetworkPolicy", Namespace: namespace, Name: name}
}

// marked reports whether it says of itself whether it yields.
func (p *policy) marked() bool { return p.Annotations[workload.AnnotationYields] != "" }

// remove deletes the policy, in the version that was looked at.
func (k *Keeper) remove(ctx context.Context, have *policy) error {
	c := write.Change{Target: target(have.Namespace, have.Name), Verb: write.Delete, Version: have.ResourceVersion}
	c.UID = have.UID
	err := k.send(ctx, c)
	if err == nil {
		k.figures.deleted.Inc()
		k.Log.InfoContext(ctx, "network policy deleted", "policy", have.Namespace+"/"+have.Name)
	}
	if write.Gone(err) {
		return nil
	}
	return err
}

// due are those of a namespace's unused policies that have been so for a while.
func (k *Keeper) due(namespace string, unused []*policy) []*policy {
	var out []*policy
	now, since := k.Now(), make(map[types.UID]time.Time, len(unused))
	for _, p := range unused {
		began, known := k.unused[namespace][p.UID]
		if !known {
			began = now
		}
		since[p.UID] = began
		if now.Sub(began) >= workload.UnusedFor {
			out = append(out, p)
		}
	}
	k.unused[namespace] = since
	return out
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// String names the directions, for people.
func (d directions) String() string {
	switch d {
	case directions{true, false}:
		return "ingress"
	case directions{false, true}:
		return "egress"
	case directions{true, true}:
		return "ingress and egress"
	}
	return ""
}
