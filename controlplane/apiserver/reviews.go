package apiserver

import (
	"net/http"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"swell.dev/swell/controlplane"
)

// review is a resource that is only asked: what is posted comes back with its status.
func (s *Server) review(gvk schema.GroupVersionKind, plural, singular string, new func() runtime.Object, answer func(*request, runtime.Object) error) *resource {
	return &resource{
		gvk: gvk, plural: plural, singular: singular, verbs: []string{"create"},
		serve: func(q *request) error {
			opts := &metav1.CreateOptions{}
			if err := q.queryOptions(opts); err != nil {
				return err
			}
			if err := invalidOptions("CreateOptions", metavalidation.ValidateCreateOptions(opts)); err != nil {
				return err
			}
			obj := new()
			if err := s.decodeBody(q, obj, gvk, opts.FieldValidation); err != nil {
				return err
			}
			if err := answer(q, obj); err != nil {
				return err
			}
			q.as.as = "" // there is no table of a review
			s.write(q.w, q.r, http.StatusCreated, q.as, obj, gvk)
			return nil
		},
	}
}

func (s *Server) selfSubjectReview() *resource {
	return s.review(authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), "selfsubjectreviews", "selfsubjectreview",
		func() runtime.Object { return &authenticationv1.SelfSubjectReview{} },
		func(q *request, o runtime.Object) error {
			o.(*authenticationv1.SelfSubjectReview).Status.UserInfo = authenticationv1.UserInfo{
				Username: q.user.Name, UID: q.user.UID, Groups: q.user.Groups,
			}
			return nil
		})
}

func (s *Server) selfSubjectAccessReview() *resource {
	gvk := authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectAccessReview")
	return s.review(gvk, "selfsubjectaccessreviews", "selfsubjectaccessreview",
		func() runtime.Object { return &authorizationv1.SelfSubjectAccessReview{} },
		func(q *request, o runtime.Object) error {
			review := o.(*authorizationv1.SelfSubjectAccessReview)
			var a controlplane.Attributes
			res, path := review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes
			switch {
			case res != nil && path == nil:
				a = controlplane.Attributes{
					Verb: res.Verb, Group: res.Group, Resource: res.Resource, Subresource: res.Subresource,
					Namespace: res.Namespace, Name: res.Name,
				}
			case path != nil && res == nil:
				a = controlplane.Attributes{Verb: path.Verb, Path: path.Path}
			default:
				return apierrors.NewInvalid(gvk.GroupKind(), "", field.ErrorList{field.Invalid(field.NewPath("spec", "resourceAttributes"), res,
					"exactly one of nonResourceAttributes or resourceAttributes must be specified")})
			}
			allowed, reason := s.cfg.Authorize(q.user, a)
			review.Status = authorizationv1.SubjectAccessReviewStatus{Allowed: allowed, Reason: reason}
			return nil
		})
}

// selfSubjectRulesReview answers by asking for each verb of all that is served.
func (s *Server) selfSubjectRulesReview() *resource {
	gvk := authorizationv1.SchemeGroupVersion.WithKind("SelfSubjectRulesReview")
	return s.review(gvk, "selfsubjectrulesreviews", "selfsubjectrulesreview",
		func() runtime.Object { return &authorizationv1.SelfSubjectRulesReview{} },
		func(q *request, o runtime.Object) error {
			review := o.(*authorizationv1.SelfSubjectRulesReview)
			if review.Spec.Namespace == "" {
				return apierrors.NewBadRequest("no namespace on request")
			}
			review.Status = authorizationv1.SubjectRulesReviewStatus{
				ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{},
			}
			for _, res := range s.resources.all {
				s.addRule(q.user, res, "", res.verbs, review)
				for _, sub := range res.subresources {
					s.addRule(q.user, res, sub.name, sub.verbs, review)
				}
			}
			for _, path := range []string{"/api", "/apis", "/openapi/v2", "/openapi/v3"} {
				if ok, _ := s.cfg.Authorize(q.user, controlplane.Attributes{Verb: "get", Path: path}); ok {
					review.Status.NonResourceRules = append(review.Status.NonResourceRules,
						authorizationv1.NonResourceRule{Verbs: []string{"get"}, NonResourceURLs: []string{path}})
				}
			}
			return nil
		})
}

func (s *Server) addRule(user controlplane.User, res *resource, sub string, verbs []string, review *authorizationv1.SelfSubjectRulesReview) {
	name := res.plural
	if sub != "" {
		name += "/" + sub
	}
	rule := authorizationv1.ResourceRule{APIGroups: []string{res.gvk.Group}, Resources: []string{name}}
	for _, verb := range verbs {
		a := controlplane.Attributes{Verb: verb, Group: res.gvk.Group, Resource: res.plural, Subresource: sub}
		if res.namespaced {
			a.Namespace = review.Spec.Namespace
		}
		if ok, _ := s.cfg.Authorize(user, a); ok {
			rule.Verbs = append(rule.Verbs, verb)
		}
	}
	if len(rule.Verbs) > 0 {
		review.Status.ResourceRules = append(review.Status.ResourceRules, rule)
	}
}
