"""A job of the comparison in Blender's compositor: `blender.py JOB FOLDER OUT ROUNDS`, run by Python with bpy.

Prints the CPU-seconds of each frame after the first, so that neither starting Blender nor building shaders counts. Each
frame reads its pictures again, composites on the CPU and writes half ZIP EXR.
"""

import os
import sys

import bpy

JOB, FOLDER, OUT, ROUNDS = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])

scene = bpy.context.scene
scene.render.resolution_x, scene.render.resolution_y = 3840, 2160
scene.render.resolution_percentage = 100
scene.render.use_compositing = True
scene.render.compositor_device = "CPU"
scene.render.compositor_precision = "FULL"
scene.render.image_settings.file_format = "OPEN_EXR"
scene.render.image_settings.color_mode = "RGBA"
scene.render.image_settings.color_depth = "16"
scene.render.image_settings.exr_codec = "ZIP"
scene.render.filepath = OUT
scene.view_settings.view_transform = "Raw"
tree = bpy.data.node_groups.new("job", "CompositorNodeTree")
tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
scene.compositing_node_group = tree
IMAGES = []


def read(name):
    node = tree.nodes.new("CompositorNodeImage")
    node.image = bpy.data.images.load(os.path.join(FOLDER, name))
    node.image.colorspace_settings.name = "Linear Rec.709"
    node.image.alpha_mode = "PREMUL"
    IMAGES.append(node.image)
    return node.outputs[0]


def over(above, below):
    node = tree.nodes.new("CompositorNodeAlphaOver")
    tree.links.new(below, node.inputs["Background"])
    tree.links.new(above, node.inputs["Foreground"])
    return node.outputs[0]


def transform(input, angle=0.0, scale=1.0, move=(0.0, 0.0)):
    node = tree.nodes.new("CompositorNodeTransform")
    tree.links.new(input, node.inputs["Image"])
    node.inputs["X"].default_value, node.inputs["Y"].default_value = move
    node.inputs["Angle"].default_value = angle * 3.141592653589793 / 180.0
    node.inputs["Scale"].default_value = scale
    node.inputs["Interpolation"].default_value = "Bicubic"
    return node.outputs[0]


def multiply(input, factors):
    node = tree.nodes.new("ShaderNodeMix")
    node.data_type, node.blend_type = "RGBA", "MULTIPLY"
    node.inputs["Factor"].default_value = 1.0
    colours = [socket for socket in node.inputs if socket.type == "RGBA"]
    tree.links.new(input, colours[0])
    colours[1].default_value = (*factors, 1.0)
    return next(socket for socket in node.outputs if socket.type == "RGBA")


JOBS = {
    "copy": lambda: read("plate.exr"),
    "over": lambda: over(read("ball.exr"), read("plate.exr")),
    "layers": lambda: over(read("haze.exr"), over(read("ball.exr"), read("plate.exr"))),
    "rotate": lambda: transform(read("plate.exr"), angle=-10.0),
    "multiply": lambda: multiply(read("plate.exr"), (1.1, 1.0, 0.9)),
    "warp": lambda: over(
        read("haze.exr"),
        over(transform(read("ball.exr"), angle=-5.0, scale=1.1, move=(120.5, -40.25)), read("plate.exr")),
    ),
}

output = tree.nodes.new("NodeGroupOutput")
tree.links.new(JOBS[JOB](), output.inputs[0])
for number in range(ROUNDS + 1):
    for image in IMAGES:
        image.reload()
    begun = sum(os.times()[:2])
    bpy.ops.render.render(write_still=True)
    if number > 0:
        print(f"cpu {sum(os.times()[:2]) - begun:.3f}", flush=True)
