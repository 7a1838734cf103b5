// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints what kconfig itself knows of some symbols, as menuconfig's search
 * does: prompt, place, what they depend on with the values that hold, what
 * selects them; and before all that, whether what they depend on holds.
 * Linked with the tree's own scripts/kconfig, so that it reads the language as
 * that tree does.
 *
 * Usage: relations SYMBOL... (without CONFIG_), in a configured build folder
 */
#include <stdio.h>
#include <stdlib.h>
#include <list.h>
#include "lkc.h"

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
		printf("Dependencies: %s\n", expr_calc_value(found[0]->dir_dep.expr) == no ? "not met" : "met");
		text = get_relations_str(found, NULL);
		fputs(str_get(&text), stdout);
		str_free(&text);
	}
	return 0;
}
