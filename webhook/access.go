package webhook

import (
	"context"
	"fmt"
	"slices"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Trusted are the identities that may change managed keys on live pods, besides
// those whom the cluster's own authorization lets update pods/detnet in all
// namespaces: administrators are in other groups on every kind of cluster, and
// what a Role in a tenant's namespace grants is no trust.
type Trusted struct {
	Users  []string // such as system:serviceaccount:detnet:detnet-controller
	Groups []string // such as system:masters
}

// What one must be allowed to be trusted. No API serves the subresource: it is
// a name for the permission, which cluster-admin's wildcard includes.
const (
	trustVerb        = "update"
	trustSubresource = "detnet"
)

func (t Trusted) includes(user string, groups []string) bool {
	return slices.Contains(t.Users, user) || slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(t.Groups, g) })
}

// refusal says who may change what, and what to set to be one of them.
func (t Trusted) refusal(what string) string {
	groups := ""
	if len(t.Groups) > 0 {
		groups = fmt.Sprintf(", members of %s (guard.trustedGroups)", strings.Join(t.Groups, ", "))
	}
	return fmt.Sprintf("only detnet's controller may change these keys on a live pod; change the workload's template instead. "+
		"Trusted as well are those who may update pods/detnet in all namespaces, such as cluster-admin (kubectl create clusterrolebinding NAME --clusterrole=detnet-admin --user=USER)%s: %s", groups, what)
}

// Access says whom the cluster's own authorization trusts.
type Access interface {
	MayChangeStamps(ctx context.Context, user authenticationv1.UserInfo) (bool, error)
}

// SubjectAccess asks the API server, which knows every authorizer of the
// cluster (authorization.k8s.io/v1).
type SubjectAccess struct{ Client client.Client }

// MayChangeStamps implements Access.
func (s SubjectAccess) MayChangeStamps(ctx context.Context, user authenticationv1.UserInfo) (bool, error) {
	extra := make(map[string]authorizationv1.ExtraValue, len(user.Extra))
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user.Username, UID: user.UID, Groups: user.Groups, Extra: extra,
		ResourceAttributes: &authorizationv1.ResourceAttributes{Verb: trustVerb, Resource: "pods", Subresource: trustSubresource},
	}}
	if err := s.Client.Create(ctx, review); err != nil {
		return false, fmt.Errorf("ask whether %s may %s pods/%s: %w", user.Username, trustVerb, trustSubresource, err)
	}
	return review.Status.Allowed, nil
}
