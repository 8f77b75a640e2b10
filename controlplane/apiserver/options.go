package apiserver

import (
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metainternalscheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme"
	internalvalidation "k8s.io/apimachinery/pkg/apis/meta/internalversion/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// queryOptions reads the query string into one of metav1's options.
func (q *request) queryOptions(into runtime.Object) error {
	if err := metainternalscheme.ParameterCodec.DecodeParameters(q.r.URL.Query(), metav1.SchemeGroupVersion, into); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	return nil
}

func invalidOptions(kind string, errs field.ErrorList) error {
	if len(errs) == 0 {
		return nil
	}
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

// listOptions reads those of list, watch and deletecollection. A name in the path narrows the field selector.
func (q *request) listOptions() (*internalversion.ListOptions, error) {
	opts := &internalversion.ListOptions{}
	if err := q.queryOptions(opts); err != nil {
		return nil, err
	}
	opts.Watch = q.verb == "watch"
	if errs := internalvalidation.ValidateListOptions(opts, true); len(errs) > 0 {
		return nil, invalidOptions("ListOptions", errs)
	}
	if q.name != "" {
		byName := fields.OneTermEqualSelector("metadata.name", q.name)
		if opts.FieldSelector != nil && !opts.FieldSelector.Empty() {
			byName = fields.AndSelectors(opts.FieldSelector, byName)
		}
		opts.FieldSelector = byName
	}
	return opts, nil
}

// parseVersion reads a resource version. Empty is 0.
func parseVersion(v string) (uint64, error) {
	if v == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil {
		return 0, invalidOptions("ListOptions", field.ErrorList{field.Invalid(field.NewPath("resourceVersion"), v, err.Error())})
	}
	return n, nil
}

func formatVersion(v uint64) string { return strconv.FormatUint(v, 10) }

// tooNew answers a version that this server hasn't reached. A moment later it may have.
func tooNew(asked, present uint64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", asked, present), retryAfterSeconds)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version"}}
	return err
}
