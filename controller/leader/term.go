package leader

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// transitionBits is the part of a term that counts leaders under one lease; the
// rest is when the lease was made, so that one made anew goes on and not back.
const transitionBits = 20

// Term returns the number of the present term, greater than that of any leader
// before: when the lease was made (s since 1970) and how often it changed hands.
func Term(ctx context.Context, client kubernetes.Interface, namespace string) (uint64, error) {
	lease, err := client.CoordinationV1().Leases(namespace).Get(ctx, Lease, metav1.GetOptions{})
	if err != nil {
		return 0, fmt.Errorf("read the number of the term from lease %s/%s: %w", namespace, Lease, err)
	}
	transitions := int32(0)
	if n := lease.Spec.LeaseTransitions; n != nil {
		transitions = *n
	}
	return termOf(lease.CreationTimestamp.Time, transitions), nil
}

// SingleTerm is the term of a controller without others, which began at a time.
func SingleTerm(began time.Time) uint64 { return termOf(began, 0) }

func termOf(made time.Time, transitions int32) uint64 {
	return uint64(max(made.Unix(), 0))<<transitionBits | uint64(min(max(transitions, 0), 1<<transitionBits-1))
}
