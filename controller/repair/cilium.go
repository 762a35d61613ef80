package repair

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/kubernetes"
)

// ciliumPolicy is what is read of a CiliumNetworkPolicy.
type ciliumPolicy struct {
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		EndpointSelector *metav1.LabelSelector `json:"endpointSelector"`
	} `json:"spec"`
}

// ciliumPolicies lists those that the webhook made; none where Cilium's kinds
// are unknown.
func ciliumPolicies(ctx context.Context, client kubernetes.Interface) ([]ciliumPolicy, error) {
	raw, err := client.Discovery().RESTClient().Get().AbsPath("/apis/cilium.io/v2/ciliumnetworkpolicies").
		Param("labelSelector", "app.kubernetes.io/managed-by=detnet").Do(ctx).Raw()
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list CiliumNetworkPolicies: %w", err)
	}
	var list struct {
		Items []ciliumPolicy `json:"items"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("list CiliumNetworkPolicies: %w", err)
	}
	return list.Items, nil
}

func (p ciliumPolicy) path() string {
	return "/apis/cilium.io/v2/namespaces/" + p.Namespace + "/ciliumnetworkpolicies/" + p.Name
}

// remove deletes the policy in the version that was read, if one is set.
func (p ciliumPolicy) remove(ctx context.Context, client kubernetes.Interface) error {
	conditions := &metav1.Preconditions{UID: &p.UID}
	if p.ResourceVersion != "" {
		conditions.ResourceVersion = &p.ResourceVersion
	}
	body, err := json.Marshal(metav1.DeleteOptions{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "DeleteOptions"}, Preconditions: conditions,
	})
	if err != nil {
		return fmt.Errorf("encode the deletion: %w", err)
	}
	err = client.Discovery().RESTClient().Delete().AbsPath(p.path()).
		SetHeader("Content-Type", "application/json").Body(body).Do(ctx).Error()
	return expected(err, "delete it")
}

// pods is the policy's selector as one of pods. False: it selects by labels
// that Cilium adds, or not by pods at all.
func (p ciliumPolicy) pods() (labels.Selector, bool) {
	if p.Spec.EndpointSelector == nil {
		return nil, false
	}
	known := true
	bare := func(key string) string {
		if source, rest, ok := strings.Cut(key, ":"); ok {
			known = known && (source == "k8s" || source == "any")
			key = rest
		}
		known = known && !strings.HasPrefix(key, "io.kubernetes.") && !strings.HasPrefix(key, "io.cilium.")
		return key
	}
	plain := metav1.LabelSelector{MatchLabels: map[string]string{}}
	for key, value := range p.Spec.EndpointSelector.MatchLabels {
		plain.MatchLabels[bare(key)] = value
	}
	for _, e := range p.Spec.EndpointSelector.MatchExpressions {
		e.Key = bare(e.Key)
		plain.MatchExpressions = append(plain.MatchExpressions, e)
	}
	selector, err := metav1.LabelSelectorAsSelector(&plain)
	return selector, known && err == nil
}

// expected drops the errors of somebody else having been faster.
func expected(err error, what string) error {
	if err == nil || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

// RemovePolicies deletes every CiliumNetworkPolicy that the webhook made, for
// when detnet is taken out, and calls done after each.
func RemovePolicies(ctx context.Context, client kubernetes.Interface, namespace string, done func(namespace, name string)) error {
	list, err := ciliumPolicies(ctx, client)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range list {
		if namespace != "" && p.Namespace != namespace {
			continue
		}
		p.ResourceVersion = "" // in whatever version
		if err := p.remove(ctx, client); err != nil {
			errs = append(errs, fmt.Errorf("CiliumNetworkPolicy %s/%s: %w", p.Namespace, p.Name, err))
			continue
		}
		done(p.Namespace, p.Name)
	}
	return errors.Join(errs...)
}
