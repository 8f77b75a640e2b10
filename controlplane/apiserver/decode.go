package apiserver

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	kjson "sigs.k8s.io/json"
)

// bodyLimit is what a request may send, as in kube-apiserver.
const bodyLimit = 3 << 20

// warningsLimit bounds the Warning headers of one answer, in bytes, so that the answer stays readable.
const warningsLimit = 4 << 10

func (q *request) body() ([]byte, error) {
	data, err := io.ReadAll(http.MaxBytesReader(q.w, q.r.Body, bodyLimit))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, err
		}
		return nil, apierrors.NewBadRequest("the body can't be read: " + err.Error())
	}
	return data, nil
}

// mediaType is the body's. Without a Content-Type it is JSON.
func (q *request) mediaType(accepted []string) (string, error) {
	header := q.r.Header.Get("Content-Type")
	if header == "" {
		return accepted[0], nil
	}
	media, _, err := mime.ParseMediaType(header)
	if err == nil {
		for _, a := range accepted {
			if a == media {
				return a, nil
			}
		}
	}
	return "", unsupportedMediaType(accepted)
}

// decodeBody reads the body into obj, which is of kind gvk.
func (s *Server) decodeBody(q *request, obj runtime.Object, gvk schema.GroupVersionKind, fieldValidation string) error {
	media, err := q.mediaType(s.codecs.types)
	if err != nil {
		return err
	}
	data, err := q.body()
	if err != nil {
		return err
	}
	warnings, err := s.decode(data, media, obj, gvk, fieldValidation)
	warn(q.w, warnings)
	return err
}

// decode reads data into obj. Unknown and duplicate fields are refused, answered as warnings or ignored,
// as fieldValidation says.
func (s *Server) decode(data []byte, media string, obj runtime.Object, gvk schema.GroupVersionKind, fieldValidation string) (warnings []error, err error) {
	info := s.codecs.info[media]
	decoder := runtime.Decoder(info.StrictSerializer)
	if fieldValidation == metav1.FieldValidationIgnore {
		decoder = info.Serializer
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): the body is empty", gvk.Kind))
	}
	got, actual, err := decoder.Decode(data, &gvk, obj)
	if strict, ok := runtime.AsStrictDecodingError(err); ok && fieldValidation != metav1.FieldValidationStrict {
		warnings, err = strict.Errors(), nil
	}
	if err != nil {
		return nil, undecodable(err, actual, gvk, data)
	}
	if actual.GroupVersion() != gvk.GroupVersion() {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)",
			actual.GroupVersion(), gvk.GroupVersion()))
	}
	if got != obj || actual.Kind != gvk.Kind {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: the kind does not match", actual.Kind, actual.Version, gvk.Kind))
	}
	return warnings, nil
}

func undecodable(err error, actual *schema.GroupVersionKind, want schema.GroupVersionKind, data []byte) error {
	if actual != nil && actual.Kind != "" {
		return apierrors.NewBadRequest(fmt.Sprintf("%s in version %q cannot be handled as a %s: %v", actual.Kind, actual.Version, want.Kind, err))
	}
	const shown = 30
	summary := data
	if len(summary) > shown {
		summary = append(bytes.Clone(summary[:shown]), "..."...)
	}
	return apierrors.NewBadRequest(fmt.Sprintf("the object provided is unrecognized (must be of type %s): %v (%q)", want.Kind, err, summary))
}

// warn adds a Warning header for each.
func warn(w http.ResponseWriter, warnings []error) {
	size := 0
	for _, text := range warnings {
		header, err := utilnet.NewWarningHeader(299, "-", strings.ToValidUTF8(text.Error(), "�"))
		if size += len(header); err != nil || size > warningsLimit {
			continue
		}
		w.Header().Add("Warning", header)
	}
}

// strictJSON reads a kind that has no codec. An empty body is an empty object.
func strictJSON(data []byte, into any) error {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil
	}
	strict, err := kjson.UnmarshalStrict(data, into)
	if err != nil {
		return err
	}
	return errors.Join(strict...)
}
