package budgets

import (
	"maps"
	"slices"
	"time"

	"swell.dev/swell/api/v1alpha1"
	"swell.dev/swell/controlplane"
)

// Resources of budgets.
const (
	budgetsResource        = "budgets"
	accountBudgetsResource = "accountbudgets"
)

// book is all budgets, and what was last known of the spending.
type book struct {
	budgets map[controlplane.Key]*budget
	known   map[time.Time]map[string]Spending // by the beginning of a month in Unix time's UTC, then by project
}

// read takes over the stored budgets. What is known of a month is kept, also of a budget that was changed.
func (k *book) read(objects []controlplane.Object) []error {
	var problems []error
	next := make(map[controlplane.Key]*budget, len(objects))
	for _, o := range objects {
		b, err := read(o)
		if err != nil {
			problems = append(problems, err) // validation lets none through
			continue
		}
		if was := k.budgets[b.key]; was != nil && was.uid == b.uid {
			b.from, b.until, b.crossed, b.spentAt, b.less = was.from, was.until, was.crossed, was.spentAt, was.less
			b.changed = was.changed || was.generation != b.generation
		}
		next[b.key] = b
	}
	k.budgets = next
	return problems
}

func read(o controlplane.Object) (*budget, error) {
	if b, ok := o.(*v1alpha1.AccountBudget); ok {
		return budgetOf(controlplane.Key{Resource: accountBudgetsResource, Name: b.Name}, &b.ObjectMeta, b.Spec.Account, &b.Spec.BudgetSpec, &b.Status)
	}
	b := o.(*v1alpha1.Budget)
	return budgetOf(controlplane.Key{Resource: budgetsResource, Namespace: b.Namespace, Name: b.Name}, &b.ObjectMeta, "", &b.Spec, &b.Status)
}

// months are the beginnings of the months in which budgets are, each once.
func (k *book) months(now time.Time) []time.Time {
	seen := map[time.Time]bool{}
	for _, b := range k.budgets {
		from, _ := monthOf(now, b.zone)
		seen[from.UTC()] = true
	}
	return slices.SortedFunc(maps.Keys(seen), time.Time.Compare)
}

// denials says who may have no more pods, by project and by account.
type denials struct{ projects, accounts map[string]error }

// look has every budget look at what is known. Of several that deny the first by name is told of.
func (k *book) look(now time.Time, account func(project string) string) (map[controlplane.Key]outcome, *denials) {
	outcomes := make(map[controlplane.Key]outcome, len(k.budgets))
	d := &denials{projects: map[string]error{}, accounts: map[string]error{}}
	byAccount := map[time.Time]map[string]Spending{}
	for _, key := range slices.SortedFunc(maps.Keys(k.budgets), compareKeys) {
		b := k.budgets[key]
		b.turn(now)
		var out outcome
		if projects, known := k.known[b.from.UTC()]; known {
			s := projects[key.Namespace]
			if b.account != "" {
				if byAccount[b.from.UTC()] == nil {
					byAccount[b.from.UTC()] = perAccount(projects, account)
				}
				s = byAccount[b.from.UTC()][b.account]
			}
			out = b.look(now, s)
		} else { // what was stored holds meanwhile
			out.denied, out.stop = b.verdict(now, -1)
			out.status = b.status(now, nil)
		}
		outcomes[key] = out
		switch {
		case out.denied == nil:
		case b.account != "" && d.accounts[b.account] == nil:
			d.accounts[b.account] = out.denied
		case b.account == "" && d.projects[key.Namespace] == nil:
			d.projects[key.Namespace] = out.denied
		}
	}
	return outcomes, d
}

func perAccount(projects map[string]Spending, account func(project string) string) map[string]Spending {
	out := map[string]Spending{}
	for project, s := range projects {
		a := account(project)
		out[a] = out[a].plus(s)
	}
	return out
}

func compareKeys(a, b controlplane.Key) int {
	return slices.Compare([]string{a.Resource, a.Namespace, a.Name}, []string{b.Resource, b.Namespace, b.Name})
}
