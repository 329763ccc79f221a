"""The lints must fail on a bad tree, and only there."""

import pathlib
import tempfile
import unittest

import check_format
import check_layers
import check_text
import check_tidy


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def write(self, name: str, text: str):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


class LayersTest(Tree):
    def check(self, name: str, text: str):
        self.write(name, text)
        return list(check_layers.problems(self.root))

    def assertProblem(self, expected: str, name: str, text: str):
        found = [problem for problem in self.check(name, text) if problem.startswith(name + ":")]
        self.assertEqual(len(found), 1, found)
        self.assertIn(expected, found[0])

    def test_accepts_arrows_to_the_right(self):
        self.assertEqual([], self.check("kernels/a.cc", '#include "graph/graph.h"\n'
                                                        '#include "base/tensor.h"\n'
                                                        '#include "oneapi/dnnl/dnnl.hpp"\n'))

    def test_refuses_an_arrow_to_the_left(self):
        self.assertProblem("graph must not use kernels", "graph/a.cc",
                           '#include "kernels/operator.h"\n')

    def test_refuses_the_neighbour(self):
        self.assertProblem("quant must not use kernels", "quant/a.cc",
                           '#  include "kernels/operator.h"\n')

    def test_refuses_the_wrong_door(self):
        self.assertProblem("only kernels/ may include", "runtime/a.cc",
                           "#include <oneapi/dnnl/dnnl.hpp>\n")
        self.assertProblem("only kernels/ may include", "runtime/a.cc", "#include <dnnl.hpp>\n")
        self.assertProblem("only server/grpc/", "runtime/a.cc",
                           '#include "open_inference.grpc.pb.h"\n')

    def test_refuses_test_support_in_the_product(self):
        self.assertProblem("only tests may include", "graph/a.cc",
                           '#include "tests/support/graph_builder.h"\n')

    def test_tests_may_use_test_support(self):
        self.assertEqual([], self.check("graph/a_test.cc",
                                        '#include "tests/support/graph_builder.h"\n'))

    def test_refuses_long_files(self):
        self.assertEqual([], self.check("base/a.cc", "\n" * 400))
        self.assertProblem("401 lines", "base/a.cc", "\n" * 401)

    def test_tests_may_be_longer(self):
        self.assertEqual([], self.check("base/a_test.cc", "\n" * 600))
        self.assertProblem("601 lines", "base/a_test.cc", "\n" * 601)

    def test_refuses_what_is_forbidden(self):
        self.assertProblem("nothing throws", "base/a.cc", "void F() { throw 1; }\n")
        self.assertProblem("octet::Mutex", "base/a.cc", "std::mutex m;\n")
        self.assertProblem("octet::Mutex", "base/a.cc",
                           '#include "absl/synchronization/mutex.h"\n')
        self.assertProblem("using-directive", "base/a.h",
                           "#pragma once\nusing namespace absl;\n")

    def test_does_not_read_comments_and_strings(self):
        self.assertEqual([], self.check("base/a.cc", "// never throw\n/* throw */\n"
                                                     'const char* k = "throw";\n'
                                                     'const char* j = R"(throw "x")";\n'))

    def test_headers_need_a_guard(self):
        self.assertProblem("#pragma once", "base/a.h", "int F();\n")


class TextTest(Tree):
    def test_refuses_a_machine_path(self):
        self.write("README.md", "fine\nsee /" + "work/notes\n")
        self.assertEqual(1, len(list(check_text.problems(self.root))))

    def test_refuses_a_registry(self):
        self.write("scripts/a.sh", "curl http://deb." + "debian.org/debian\n")
        self.assertEqual(1, len(list(check_text.problems(self.root))))

    def test_accepts_the_rest(self):
        self.write("a.md", "network/frame, ./work/x, at work/ play\n")
        (self.root / "model.onnx").write_bytes(b"\xff\xfe\x00/" + b"work/")
        self.assertEqual([], list(check_text.problems(self.root)))


class FormatTest(Tree):
    def test_accepts_formatted_code(self):
        self.write("base/a.cc", "int F(int a) { return a; }\n")
        self.assertEqual(0, check_format.check(self.root))

    def test_refuses_other_code(self):
        self.write("base/a.cc", "int F( int a ){return a;}\n")
        self.assertNotEqual(0, check_format.check(self.root))

    def test_refuses_to_find_nothing(self):
        self.assertNotEqual(0, check_format.check(self.root))


class TidyTest(unittest.TestCase):
    def test_a_changed_header_means_its_sources(self):
        a, b = pathlib.Path("/r/a.cc"), pathlib.Path("/r/b_test.cc")
        other = pathlib.Path("/r/c.cc")
        changed = {pathlib.Path("/r/a.h"), pathlib.Path("/r/b.h")}
        self.assertEqual([a, b], check_tidy.affected(changed, [a, b, other]))


if __name__ == "__main__":
    unittest.main()
