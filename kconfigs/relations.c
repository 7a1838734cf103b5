// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints what kconfig itself knows of some symbols, as menuconfig's search
 * does: prompt, place, what they depend on with the values that hold, what
 * selects them; and before all that, whether what they depend on holds, whether
 * they can be set at all, and of a member of a choice, which member it has.
 * Linked with the tree's own scripts/kconfig, so that it reads the language as
 * that tree does.
 *
 * Usage: relations SYMBOL... (without CONFIG_), in a configured build folder
 */
#include <stdio.h>
#include <stdlib.h>
#include <list.h>
#include "lkc.h"

/* The menu entry of the choice that a symbol is a member of. */
static struct menu *choice_of(struct menu *menu, struct symbol *sym)
{
	struct menu *found;

	if (menu->sym == sym)
		for (found = menu->parent; found; found = found->parent)
			if (found->sym && sym_is_choice(found->sym))
				return found;
	for (menu = menu->list; menu; menu = menu->next)
		if ((found = choice_of(menu, sym)))
			return found;
	return NULL;
}

/* The member that a choice holds. */
static struct symbol *holder_in(struct menu *menu)
{
	struct symbol *found;

	for (menu = menu->list; menu; menu = menu->next) {
		if (menu->sym && sym_is_choice_value(menu->sym)) {
			sym_calc_value(menu->sym);
			if (sym_get_tristate_value(menu->sym) == yes)
				return menu->sym;
		}
		if ((found = holder_in(menu)))
			return found;
	}
	return NULL;
}

static void print_choice(struct symbol *sym)
{
	struct menu *choice = sym_is_choice_value(sym) ? choice_of(&rootmenu, sym) : NULL;
	struct symbol *holder = choice ? holder_in(choice) : NULL;
	const char *prompt = choice ? menu_get_prompt(choice) : NULL;

	if (choice)
		printf("Choice: %s\n", prompt ? prompt : "without a name");
	if (holder && holder != sym)
		printf("Holder: %s\n", holder->name);
}

int main(int argc, char **argv)
{
	conf_parse("Kconfig");
	conf_read(NULL);
	for (int i = 1; i < argc; i++) {
		struct symbol *found[] = { sym_find(argv[i]), NULL };
		struct gstr text;

		printf("== %s\n", argv[i]);
		if (!found[0] || found[0]->type == S_UNKNOWN)
			continue;
		sym_calc_value(found[0]);
		printf("Dependencies: %s\n", expr_calc_value(found[0]->dir_dep.expr) == no ? "not met" : "met");
		printf("Visible: %s\n", found[0]->visible == no ? "no" : "yes");
		print_choice(found[0]);
		text = get_relations_str(found, NULL);
		fputs(str_get(&text), stdout);
		str_free(&text);
	}
	return 0;
}
