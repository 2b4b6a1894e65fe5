//! Puts all mutants of a file into its text, each behind a switch: `if crate::mutant::is(7) { … }`.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use syn::{
    Arm, BinOp, Block, Expr, ExprBinary, ExprStruct, ExprUnary, ImplItemFn, ItemFn, Signature,
    TraitItemFn, UnOp,
    spanned::Spanned,
    visit::{self, Visit},
};

use crate::list::{Genre, Mutant};

/// A file with its mutants, and where each of them is in the text.
pub struct Rewritten {
    pub text: String,
    pub places: Vec<(Range<usize>, usize)>,
    /// The mutants that have found their place.
    pub placed: BTreeSet<usize>,
    /// Those of them in what the compiler computes.
    pub computed: BTreeSet<usize>,
    /// The mutants of operators beside a `let`.
    pub chained: BTreeSet<usize>,
}

/// What is put in at a position: that which belongs to the wider part is outside.
struct Insertion {
    at: usize,
    closes: bool,
    width: usize,
    text: String,
    mutant: Option<usize>,
}

pub fn rewrite(source: &str, mutants: &[&Mutant], keeps_const: &BTreeSet<String>) -> Rewritten {
    let file = syn::parse_file(source).expect("the crate compiles");
    let lines: Vec<usize> =
        std::iter::once(0).chain(source.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut starts = BTreeMap::<usize, Vec<&Mutant>>::new();
    for mutant in mutants {
        let line = lines[mutant.span.start.line - 1];
        let column = source[line..].char_indices().nth(mutant.span.start.column - 1);
        starts.entry(line + column.expect("it is in the line").0).or_default().push(mutant);
    }
    let mut switches = Switches {
        source,
        starts,
        keeps_const,
        insertions: Vec::new(),
        blanks: Vec::new(),
        placed: BTreeSet::new(),
        is_const: false,
        computed: BTreeSet::new(),
        chained: BTreeSet::new(),
    };
    switches.visit_file(&file);
    switches.finish()
}

struct Switches<'a> {
    source: &'a str,
    starts: BTreeMap<usize, Vec<&'a Mutant>>,
    keeps_const: &'a BTreeSet<String>,
    insertions: Vec<Insertion>,
    blanks: Vec<Range<usize>>,
    placed: BTreeSet<usize>,
    /// Whether the compiler computes what is being visited: then a switch is thrown by a build.
    is_const: bool,
    computed: BTreeSet<usize>,
    chained: BTreeSet<usize>,
}

impl Switches<'_> {
    fn at(&self, start: usize, genre: Genre) -> Vec<Mutant> {
        let there = self.starts.get(&start).into_iter().flatten();
        there.filter(|mutant| mutant.genre == genre).map(|mutant| (*mutant).clone()).collect()
    }

    /// Whether the mutant is on.
    fn is(&mut self, mutant: &Mutant) -> String {
        if self.is_const {
            self.computed.insert(mutant.id);
            format!("crate::mutant::is_built({})", mutant.id)
        } else {
            format!("crate::mutant::is({})", mutant.id)
        }
    }

    fn computed(&mut self, visit: impl FnOnce(&mut Self)) {
        let is_const = std::mem::replace(&mut self.is_const, true);
        visit(self);
        self.is_const = is_const;
    }

    fn text(&self, part: &impl Spanned) -> &str {
        text_of(self.source, part)
    }

    fn insert(&mut self, at: usize, closes: bool, width: usize, text: String, of: Option<&Mutant>) {
        let mutant = of.map(|mutant| mutant.id);
        self.placed.extend(mutant);
        self.insertions.push(Insertion { at, closes, width, text, mutant });
    }

    /// `whole` becomes `(if … { mutated } else { whole })`.
    fn switch(&mut self, whole: Range<usize>, mutated: Vec<(Mutant, String)>) {
        if mutated.is_empty() {
            return;
        }
        let width = whole.len();
        self.insert(whole.start, false, width, "(".into(), None);
        for (mutant, text) in &mutated {
            let text = format!("if {} {{ {text} }} else ", self.is(mutant));
            self.insert(whole.start, false, width, text, Some(mutant));
        }
        self.insert(whole.start, false, width, "{ ".into(), None);
        self.insert(whole.end, true, width, " })".into(), None);
    }

    fn function(&mut self, signature: &Signature, block: &Block) {
        if let Some(token) = &signature.constness {
            if self.keeps_const.contains(&signature.ident.to_string()) {
                return self.computed(|switches| switches.body(signature, block));
            }
            self.blanks.push(token.span.byte_range());
        }
        self.body(signature, block);
    }

    fn body(&mut self, signature: &Signature, block: &Block) {
        visit::visit_signature(self, signature);
        let open = block.span().byte_range();
        let first = block.stmts.first().map(|first| first.span().byte_range().start);
        let mut mutants = self.at(open.start, Genre::FnValue);
        mutants.extend(first.into_iter().flat_map(|first| self.at(first, Genre::FnValue)));
        if text_of(self.source, &signature.output).contains("impl ") {
            self.iterator(mutants, open);
            return visit::visit_block(self, block);
        }
        for mutant in mutants {
            let value = &mutant.replacement;
            let text = format!(" if {} {{ return {value}; }}", self.is(&mutant));
            self.insert(open.start + 1, false, 0, text, Some(&mutant));
        }
        visit::visit_block(self, block);
    }

    /// The body answers one type only: an iterator is cut off instead of being replaced, and what the
    /// mutant answers comes behind.
    fn iterator(&mut self, mutants: Vec<Mutant>, body: Range<usize>) {
        self.insert(body.start, false, body.len(), "{ (".into(), None);
        self.insert(body.end, false, 0, ")".into(), None);
        for mutant in &mutants {
            let is_on = self.is(mutant);
            let mut text = format!(".take(if {is_on} {{ 0 }} else {{ usize::MAX }})");
            if let Some(once) = mutant.replacement.strip_prefix("::std::iter::once") {
                text += &format!(".chain(if {is_on} {{ Some{once} }} else {{ None }})");
            }
            self.insert(body.end, false, 0, text, Some(mutant));
        }
        self.insert(body.end, false, 0, " }".into(), None);
    }

    fn finish(mut self) -> Rewritten {
        let mut source = self.source.to_owned();
        for blank in std::mem::take(&mut self.blanks) {
            source.replace_range(blank.clone(), &" ".repeat(blank.len()));
        }
        // What closes comes first, the narrowest first; what opens comes then, the widest first.
        let mut insertions: Vec<_> =
            std::mem::take(&mut self.insertions).into_iter().enumerate().collect();
        insertions.sort_by_key(|(number, insertion)| {
            let nesting = (insertion.width as isize, -(*number as isize));
            let nesting = if insertion.closes { nesting } else { (-nesting.0, -nesting.1) };
            (insertion.at, !insertion.closes, nesting)
        });
        let (mut text, mut places, mut done) = (String::new(), Vec::new(), 0);
        for (_, insertion) in insertions {
            text.push_str(&source[done..insertion.at]);
            done = insertion.at;
            let start = text.len();
            text.push_str(&insertion.text);
            places.extend(insertion.mutant.map(|mutant| (start..text.len(), mutant)));
        }
        text.push_str(&source[done..]);
        let Self { placed, computed, chained, .. } = self;
        Rewritten { text, places, placed, computed, chained }
    }
}

impl<'ast> Visit<'ast> for Switches<'_> {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.function(&function.sig, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.function(&function.sig, &function.block);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(block) = &function.default {
            self.function(&function.sig, block);
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.computed(|switches| visit::visit_item_const(switches, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.computed(|switches| visit::visit_impl_item_const(switches, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.computed(|switches| visit::visit_trait_item_const(switches, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.computed(|switches| visit::visit_item_static(switches, item));
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.computed(|switches| visit::visit_expr_const(switches, block));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.computed(|switches| visit::visit_type_array(switches, array));
    }

    fn visit_expr_repeat(&mut self, repeat: &'ast syn::ExprRepeat) {
        self.visit_expr(&repeat.expr);
        self.computed(|switches| switches.visit_expr(&repeat.len));
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        let whole = binary.span().byte_range();
        let mut mutants = self.at(binary.op.span().byte_range().start, Genre::BinaryOperator);
        if has_let(&binary.left) || has_let(&binary.right) {
            self.chained.extend(mutants.drain(..).map(|mutant| mutant.id));
        }
        let (left, right) = (self.text(&binary.left), self.text(&binary.right));
        let assigns = matches!(self.text(&binary.op), text if text.ends_with('=')
            && !matches!(binary.op, BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Le(_) | BinOp::Ge(_)));
        let mutated = mutants
            .into_iter()
            .map(|mutant| {
                let operator = &mutant.replacement;
                let text = if assigns {
                    format!("{left} {operator} {right}")
                } else {
                    format!("({left}) {operator} ({right})")
                };
                (mutant, text)
            })
            .collect();
        self.switch(whole, mutated);
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast ExprUnary) {
        let whole = unary.span().byte_range();
        if matches!(unary.op, UnOp::Not(_) | UnOp::Neg(_)) {
            let mutants = self.at(whole.start, Genre::UnaryOperator);
            let text = self.text(&unary.expr).to_owned();
            let mutated = mutants.into_iter().map(|mutant| (mutant, text.clone())).collect();
            self.switch(whole, mutated);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_arm(&mut self, arm: &'ast Arm) {
        let mut deleted = self.at(arm.span().byte_range().start, Genre::MatchArm);
        deleted.extend(self.at(arm.pat.span().byte_range().start, Genre::MatchArm));
        deleted.dedup_by_key(|mutant| mutant.id);
        let is_off = deleted.first().map(|mutant| format!("!{}", self.is(mutant)));
        match (&arm.guard, is_off) {
            (None, None) => {}
            (None, Some(is_off)) => {
                let end = arm.pat.span().byte_range().end;
                let width = end - arm.pat.span().byte_range().start;
                self.insert(end, true, width, format!(" if {is_off}"), deleted.first());
            }
            (Some((_, guard)), is_off) => {
                let guard = guard.span().byte_range();
                let width = guard.len();
                if let Some(is_off) = is_off {
                    let text = format!("{is_off} && ");
                    self.insert(guard.start, false, width, text, deleted.first());
                }
                for mutant in self.at(guard.start, Genre::MatchArmGuard) {
                    let text = match mutant.replacement.as_str() {
                        "true" => format!("({} || ", self.is(&mutant)),
                        _ => format!("(!{} && ", self.is(&mutant)),
                    };
                    self.insert(guard.start, false, width, text, Some(&mutant));
                    self.insert(guard.end, true, width, ")".into(), None);
                }
                self.insert(guard.start, false, width, "(".into(), None);
                self.insert(guard.end, true, width, ")".into(), None);
            }
        }
        visit::visit_arm(self, arm);
    }

    fn visit_expr_struct(&mut self, part: &'ast ExprStruct) {
        if let Some(rest) = &part.rest {
            for field in &part.fields {
                let start = field.span().byte_range().start;
                let (rest, member) =
                    (self.text(rest).to_owned(), self.text(&field.member).to_owned());
                for mutant in self.at(start, Genre::StructField) {
                    let whole = field.expr.span().byte_range();
                    if field.colon_token.is_none() {
                        let name = format!("{member}: ");
                        self.insert(start, false, usize::MAX >> 1, name, None);
                    }
                    self.switch(whole, vec![(mutant, format!("({rest}).{member}"))]);
                }
            }
        }
        visit::visit_expr_struct(self, part);
    }
}

fn text_of<'a>(source: &'a str, part: &impl Spanned) -> &'a str {
    &source[part.span().byte_range()]
}

fn has_let(part: &Expr) -> bool {
    match part {
        Expr::Let(_) => true,
        Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
