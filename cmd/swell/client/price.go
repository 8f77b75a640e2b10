package client

import (
	"fmt"
	"math/big"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"swell.dev/swell/api/v1alpha1"
)

// quoted says what a dry run answered of a pod's price.
func quoted(pod *corev1.Pod) string {
	perHour, currency, ok := strings.Cut(pod.Annotations[v1alpha1.AnnotationPrice], " ")
	price, exact := new(big.Rat).SetString(perHour)
	if !ok || !exact {
		return "" // a server without prices
	}
	month := new(big.Rat).Mul(price, big.NewRat(24*30, 1))
	return fmt.Sprintf("; billed as %s it costs %s %s an hour, %s for 30 days", pod.Annotations[v1alpha1.AnnotationBilledSize], perHour, currency, month.FloatString(2))
}
