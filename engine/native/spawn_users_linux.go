package native

func (a *accounts) serviceUser(string) (account, bool) { return account{}, false }

func (a *accounts) serviceGroup(string) (int, bool) { return 0, false }

func (a *accounts) serviceGroups(account, []int) []int { return nil }
