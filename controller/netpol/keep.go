package netpol

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/detnet/detnet/controller/write"
	"github.com/detnet/detnet/workload"
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
		return nil
	}
	p := s.decide(want, failed != nil, off)
	t := told{keeper: k, namespace: namespace}
	t.failure(nil, failed)
	for _, m := range p.put {
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
	for _, have := range append(p.remove, k.due(p.unused)...) {
		if err := k.remove(ctx, have); err != nil {
			failed = errors.Join(failed, err)
			t.failure(nil, err)
		}
	}
	t.done(len(p.put))
	return failed
}

// ask collects what the pods of a namespace should have, each kind of pod once.
// The error tells of what could not be found out.
func (k *Keeper) ask(ctx context.Context, s *scene) (map[string]*wanted, error) {
	before, now := k.answers[s.name], answers{}
	k.answers[s.name] = now
	want := map[string]*wanted{}
	var failed error
	for _, p := range s.pods {
		question := p.question()
		if _, asked := now[question]; asked {
			continue
		}
		answer, ok := before[question]
		if !ok || k.Now().After(answer.until) {
			fresh, err := k.Asker.Ask(ctx, p.Namespace, p.Name)
			switch {
			case errors.Is(err, ErrExempt):
				return nil, nil
			case err != nil:
				failed = cmp.Or(failed, fmt.Errorf("network policies of pod %s/%s: %w", p.Namespace, p.Name, err))
			default:
				answer, ok = remembered{fresh, k.Now().Add(believed)}, true
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
	object := &unstructured.Unstructured{Object: map[string]any{}}
	if len(m.rules) == 1 {
		object.Object["spec"] = map[string]any(m.rules[0])
	} else {
		var specs []any
		for _, r := range m.rules {
			specs = append(specs, map[string]any(r))
		}
		object.Object["specs"] = specs
	}
	object.SetGroupVersionKind(ciliumPolicies.GroupVersion().WithKind("CiliumNetworkPolicy"))
	object.SetNamespace(namespace)
	object.SetName(m.name)
	object.SetLabels(map[string]string{managedBy: detnet})
	object.SetAnnotations(map[string]string{workload.PolicyYields: fmt.Sprint(m.yields)})
	client := k.writer.Resource(ciliumPolicies).Namespace(namespace)
	var err error
	if have == nil {
		_, err = client.Create(ctx, object, metav1.CreateOptions{FieldManager: write.FieldManager, FieldValidation: metav1.FieldValidationStrict})
	} else {
		object.SetResourceVersion(have.ResourceVersion)
		_, err = client.Update(ctx, object, metav1.UpdateOptions{FieldManager: write.FieldManager, FieldValidation: metav1.FieldValidationStrict})
	}
	switch {
	case err == nil:
		k.Log.InfoContext(ctx, "network policy written", "policy", namespace+"/"+m.name, "leaves_alone", m.held.String())
		return nil
	case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
		return nil // somebody was faster; what they did comes as an event
	case apierrors.IsAlreadyExists(err):
		err = fmt.Errorf("there is one of that name that detnet did not make: %w", err)
	case strings.Contains(err.Error(), "unknown field"):
		err = fmt.Errorf("the CRD of this cluster's Cilium does not know all of it; detnet's own policies need Cilium 1.16: %w", err)
	}
	return fmt.Errorf("CiliumNetworkPolicy %s/%s: %w", namespace, m.name, err)
}

// marked reports whether it says of itself whether it yields.
func (p *policy) marked() bool { return p.Annotations[workload.PolicyYields] != "" }

// remove deletes the policy, in the version that was looked at.
func (k *Keeper) remove(ctx context.Context, have *policy) error {
	err := k.writer.Resource(ciliumPolicies).Namespace(have.Namespace).Delete(ctx, have.Name, metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion},
	})
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete CiliumNetworkPolicy %s/%s: %w", have.Namespace, have.Name, err)
	}
	k.figures.deleted.Inc()
	k.Log.InfoContext(ctx, "network policy deleted", "policy", have.Namespace+"/"+have.Name)
	return nil
}

// due are the unused policies whose time is over.
func (k *Keeper) due(unused []*policy) []*policy {
	var out []*policy
	for _, p := range unused {
		since, ok := k.unused[p.UID]
		if !ok {
			since = k.Now()
			k.unused[p.UID] = since
		}
		if k.Now().Sub(since) >= workload.UnusedFor {
			delete(k.unused, p.UID)
			out = append(out, p)
		}
	}
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
