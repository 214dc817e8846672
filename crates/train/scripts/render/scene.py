"""A random scene for Blender's Cycles: a ground, walls, a thing to take away and things that stay, a light, a camera.
Everything is drawn from one `random.Random`, so a seed and a number make one scene."""

import colorsys
import math
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector


class Scene:
    def __init__(self, random, models, pictures, skies):
        self.random = random
        self.models = models
        self.pictures = pictures
        self.skies = skies
        self.about = {}
        bpy.ops.wm.read_factory_settings(use_empty=True)
        self.blender = bpy.context.scene
        corner = random.random()
        self.surface("ground", (0, 0, 0), (0, 0, random.uniform(0, math.tau)), random.random() < 0.35)
        self.walls = 0 if corner < 0.55 else 1 if corner < 0.85 else 2
        if self.walls > 0:
            self.surface("wall", (0, random.uniform(1.6, 6), 0), (math.pi / 2, 0, 0), False)
        if self.walls > 1:
            self.surface("wall", (random.uniform(1.8, 6), 0, 0), (math.pi / 2, 0, math.pi / 2), random.random() < 0.1)
        self.size = random.uniform(1.2, 2.4)
        self.target = self.thing(self.size, (random.uniform(-0.4, 0.4), random.uniform(-0.4, 0.4)), "target")
        others = random.choice([0, 0, 1, 1, 2, 3])
        for _ in range(others):
            angle, distance = random.uniform(0, math.tau), random.uniform(1.5, 4.0)
            at = (distance * math.cos(angle), distance * math.sin(angle))
            self.thing(random.uniform(0.5, 2.0), at, "other")
        self.about["others"] = others
        self.light()
        self.camera()

    # Surfaces

    def picture(self, group):
        """A picture of the pool as a picture of Blender's."""
        name, rgb = self.pictures.draw(self.random, group)
        height, width = rgb.shape[:2]
        image = bpy.data.images.new(name, width, height)
        rgba = np.ones((height, width, 4), np.float32)
        # Blender counts rows from below.
        rgba[..., :3] = rgb[::-1] / np.float32(255)
        image.pixels.foreach_set(rgba.ravel())
        image.update()
        return name, image

    def colour(self, saturation, value):
        return (*colorsys.hsv_to_rgb(self.random.random(), self.random.uniform(*saturation), self.random.uniform(*value)), 1)

    def surface(self, kind, at, turn, glossy):
        bpy.ops.mesh.primitive_plane_add(size=60, location=at, rotation=turn)
        plane = bpy.context.active_object
        pictured = self.random.random() < (0.8 if kind == "ground" else 0.55)
        plane.data.materials.append(self.material(kind, glossy, pictured))
        if kind == "ground":
            self.about["glossy"] = glossy

    def material(self, kind, glossy, pictured=False):
        """A material with a picture, a pattern or one colour; glossy ones mirror what stands on them."""
        random = self.random
        material = bpy.data.materials.new(kind)
        material.use_nodes = True
        nodes, links = material.node_tree.nodes, material.node_tree.links
        shader = nodes["Principled BSDF"]
        where = nodes.new("ShaderNodeTexCoord")
        mapping = nodes.new("ShaderNodeMapping")
        mapping.inputs["Location"].default_value = [random.uniform(-50, 50) for _ in range(3)]
        links.new(where.outputs["Object"], mapping.inputs["Vector"])
        first = self.colour((0, 0.5) if kind in ("ground", "wall") else (0, 1), (0.12, 0.85))
        second = (*[min(1, max(0.02, c * random.choice([0.5, 0.7, 1.5, 2.0]) + random.uniform(-0.08, 0.08))) for c in first[:3]], 1)
        height = None
        if pictured:
            name, image = self.picture("photo" if random.random() < 0.15 else "texture")
            texture = nodes.new("ShaderNodeTexImage")
            texture.image = image
            scale = random.uniform(0.15, 0.7)
            mapping.inputs["Scale"].default_value = (scale, scale * image.size[0] / image.size[1], scale)
            links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
            links.new(texture.outputs["Color"], shader.inputs["Base Color"])
            self.about.setdefault("pictures", []).append(name)
            if random.random() < 0.4:
                height = texture.outputs["Color"]
        else:
            self.pattern(nodes, links, mapping, shader, first, second)
        shader.inputs["Roughness"].default_value = random.uniform(0.03, 0.3) if glossy else random.uniform(0.45, 1)
        shader.inputs["Metallic"].default_value = random.choice([0, 0, random.random()]) if glossy else 0
        shader.inputs["Specular"].default_value = random.uniform(0.4, 1) if glossy else random.uniform(0.1, 0.5)
        if height is None and random.random() < 0.4:
            noise = nodes.new("ShaderNodeTexNoise")
            noise.inputs["Scale"].default_value = random.uniform(10, 80)
            noise.inputs["Detail"].default_value = 6
            links.new(where.outputs["Object"], noise.inputs["Vector"])
            height = noise.outputs["Fac"]
        if height is not None:
            bump = nodes.new("ShaderNodeBump")
            bump.inputs["Strength"].default_value = random.uniform(0.02, 0.12) if glossy else random.uniform(0.05, 0.5)
            bump.inputs["Distance"].default_value = 0.03
            links.new(height, bump.inputs["Height"])
            links.new(bump.outputs["Normal"], shader.inputs["Normal"])
        return material

    def pattern(self, nodes, links, mapping, shader, first, second):
        random = self.random
        kind = random.choice(["plain", "noise", "brick", "tiles", "checker", "wave", "voronoi"])
        scale = random.uniform(0.8, 6)
        if kind == "plain":
            shader.inputs["Base Color"].default_value = first
            return
        if kind in ("brick", "tiles"):
            texture = nodes.new("ShaderNodeTexBrick")
            texture.offset = 0.5 if kind == "brick" else 0
            texture.inputs["Mortar Size"].default_value = random.uniform(0.004, 0.03)
            texture.inputs["Mortar"].default_value = self.colour((0, 0.2), (0.1, 0.8))
            if kind == "tiles":
                texture.inputs["Brick Width"].default_value = texture.inputs["Row Height"].default_value = 0.5
        elif kind == "checker":
            texture = nodes.new("ShaderNodeTexChecker")
        else:
            names = {"noise": "ShaderNodeTexNoise", "wave": "ShaderNodeTexWave", "voronoi": "ShaderNodeTexVoronoi"}
            texture = nodes.new(names[kind])
            for name, value in (("Detail", random.uniform(2, 12)), ("Distortion", random.uniform(0, 4))):
                if name in texture.inputs:
                    texture.inputs[name].default_value = value
            ramp = nodes.new("ShaderNodeValToRGB")
            ramp.color_ramp.elements[0].color = first
            ramp.color_ramp.elements[1].color = second
            links.new(texture.outputs[0], ramp.inputs["Fac"])
            links.new(ramp.outputs["Color"], shader.inputs["Base Color"])
        texture.inputs["Scale"].default_value = scale
        links.new(mapping.outputs["Vector"], texture.inputs["Vector"])
        if kind in ("brick", "tiles", "checker"):
            texture.inputs["Color1"].default_value = first
            texture.inputs["Color2"].default_value = second
            links.new(texture.outputs["Color"], shader.inputs["Base Color"])

    # Things

    def thing(self, size, at, role):
        """A model or a few simple bodies that stand on the ground at `at`, `size` long; the meshes it consists of."""
        random = self.random
        before = set(bpy.data.objects)
        modelled = random.random() < (0.85 if role == "target" else 0.6)
        if modelled:
            path = self.models.draw(random)
            bpy.ops.wm.obj_import(filepath=str(path))
            name = path.stem
        else:
            name = self.bodies()
        parts = [o for o in bpy.data.objects if o not in before and o.type == "MESH"]
        if modelled:
            for material in {slot.material for o in parts for slot in o.material_slots if slot.material}:
                shader = material.node_tree.nodes.get("Principled BSDF") if material.use_nodes else None
                if shader:
                    shader.inputs["Roughness"].default_value = random.uniform(0.25, 0.9)
                    shader.inputs["Specular"].default_value = random.uniform(0.1, 0.6)
        else:
            painted = random.random() < 0.5
            materials = [self.material("body", random.random() < 0.3, painted) for _ in range(random.randint(1, 2))]
            for o in parts:
                o.data.materials.clear()
                o.data.materials.append(random.choice(materials))
        root = bpy.data.objects.new(role, None)
        self.blender.collection.objects.link(root)
        for o in parts:
            if o.parent is None:
                o.parent = root
        tilted = not modelled and random.random() < 0.4
        tilt = (random.uniform(-0.5, 0.5), random.uniform(-0.5, 0.5)) if tilted else (0, 0)
        root.rotation_euler = (*tilt, random.uniform(0, math.tau))
        low, high = bounds(parts)
        root.scale = (size / max((high - low)[:]),) * 3
        low, high = bounds(parts)
        root.location = Vector((at[0], at[1], 0)) - Vector(((low.x + high.x) / 2, (low.y + high.y) / 2, low.z))
        if role == "target":
            self.about["target"] = f"{name}.obj" if modelled else name
            low, high = bounds(parts)
            self.middle, self.high = (low + high) / 2, high.z
        return parts

    def bodies(self):
        """A simple body, a stack of them, or legs under a board."""
        random, mesh = self.random, bpy.ops.mesh
        kind = random.choice(["sphere", "cylinder", "cone", "torus", "monkey", "stack", "stack", "board"])
        if kind == "sphere":
            mesh.primitive_uv_sphere_add(segments=48, ring_count=24)
        elif kind == "cylinder":
            mesh.primitive_cylinder_add(vertices=48, radius=random.uniform(0.3, 0.9), depth=random.uniform(0.6, 2.6))
        elif kind == "cone":
            mesh.primitive_cone_add(vertices=48, radius1=0.9, radius2=random.choice([0, 0.4]), depth=random.uniform(1, 2.4))
        elif kind == "torus":
            mesh.primitive_torus_add(major_radius=0.8, minor_radius=random.uniform(0.15, 0.4))
        elif kind == "monkey":
            mesh.primitive_monkey_add(size=2)
            bpy.context.active_object.modifiers.new("smooth", "SUBSURF").render_levels = 2
        elif kind == "stack":
            above = 0
            for _ in range(random.randint(2, 4)):
                height, width = random.uniform(0.3, 0.9), random.uniform(0.3, 0.9)
                add = random.choice([mesh.primitive_cube_add, mesh.primitive_cylinder_add, mesh.primitive_uv_sphere_add])
                add(location=(random.uniform(-0.1, 0.1), random.uniform(-0.1, 0.1), above + height / 2))
                bpy.context.active_object.scale = (width * 0.8, width * 0.8, height / 2)
                above += height
        else:
            width, height, radius = random.uniform(0.6, 1.1), random.uniform(0.5, 1.6), random.uniform(0.03, 0.09)
            for x in (-1, 1):
                for y in (-1, 1):
                    mesh.primitive_cylinder_add(radius=radius, depth=height, location=(x * (width - radius), y * (width - radius), height / 2))
            mesh.primitive_cube_add(size=1, location=(0, 0, height))
            bpy.context.active_object.scale = (2 * width, 2 * width, 0.12)
        if kind in ("sphere", "cylinder", "cone", "torus", "monkey"):
            bpy.ops.object.shade_smooth()
        return kind

    # Light and camera

    def light(self):
        random = self.random
        world = bpy.data.worlds.new("world")
        self.blender.world = world
        world.use_nodes = True
        nodes, links = world.node_tree.nodes, world.node_tree.links
        shine = nodes["Background"]
        kind = random.choice(["sun", "sun", "area", "sky", "lamps"])
        environment = nodes.new("ShaderNodeTexEnvironment")
        if random.random() < 0.6:
            sky = random.choice(self.skies)
            environment.image, self.about["sky"] = bpy.data.images.load(sky), Path(sky).name
        else:
            # A photograph all around: not true light, but light of many colours and something else to be mirrored.
            self.about["sky"], environment.image = self.picture("photo")
        where, mapping = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeMapping")
        mapping.inputs["Rotation"].default_value = (0, 0, random.uniform(0, math.tau))
        links.new(where.outputs["Generated"], mapping.inputs["Vector"])
        links.new(mapping.outputs["Vector"], environment.inputs["Vector"])
        links.new(environment.outputs["Color"], shine.inputs["Color"])
        shine.inputs["Strength"].default_value = random.uniform(0.8, 1.3) if kind == "sky" else random.uniform(0.15, 0.7)
        self.about["light"] = kind
        if kind == "sky":
            return
        for _ in range(2 if kind == "lamps" else 1):
            low = 30 if self.walls else 15
            height, turn = math.radians(random.uniform(low, 80)), random.uniform(0, math.tau)
            if self.walls:
                # From the side on which there is no wall.
                turn = random.uniform(math.pi, math.tau) if self.walls == 1 else random.uniform(math.pi, 1.5 * math.pi)
            towards = Vector((math.cos(turn) * math.cos(height), math.sin(turn) * math.cos(height), math.sin(height)))
            if kind == "sun":
                lamp = bpy.data.lights.new("lamp", "SUN")
                lamp.energy, lamp.angle = random.uniform(1.5, 5), math.radians(random.choice([0.5, 1, 3, 8, 16]))
            else:
                lamp = bpy.data.lights.new("lamp", "AREA")
                distance = random.uniform(3, 8)
                lamp.size, lamp.energy = random.uniform(0.2, 3.5), random.uniform(12, 35) * distance**2
            lamp.color = [1, random.uniform(0.82, 1), random.uniform(0.65, 1)]
            body = bpy.data.objects.new("lamp", lamp)
            if kind != "sun":
                body.location = towards * distance
            body.rotation_euler = towards.to_track_quat("Z", "Y").to_euler()
            self.blender.collection.objects.link(body)

    def camera(self):
        random = self.random
        lens = bpy.data.cameras.new("camera")
        body = bpy.data.objects.new("camera", lens)
        self.blender.collection.objects.link(body)
        self.blender.camera = body
        lens.lens = random.uniform(28, 70)
        height = math.radians(random.uniform(8, 60))
        turn = random.uniform(0, math.tau)
        if self.walls:
            turn = random.uniform(-2.5, -0.65) if self.walls == 1 else random.uniform(-2.6, -2.1)
        distance = self.size * random.uniform(1.1, 2.4) * lens.lens / 36
        at = Vector((self.middle.x + random.uniform(-0.4, 0.4), self.middle.y + random.uniform(-0.4, 0.4), self.high * random.uniform(0.2, 0.5)))
        body.location = at + distance * Vector((math.cos(turn) * math.cos(height), math.sin(turn) * math.cos(height), math.sin(height)))
        self.seen = at
        self.go(1)

    def go(self, times: float):
        """Takes the camera this many times as far from what it looks at, between a third and three times, and never into the ground."""
        body = self.blender.camera
        body.location = self.seen + min(max(times, 0.33), 3) * (body.location - self.seen)
        body.location.z = max(0.25, body.location.z)
        body.rotation_euler = (body.location - self.seen).to_track_quat("Z", "Y").to_euler()


def bounds(parts):
    """The corners, least and greatest, of a box around meshes as they stand."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    low, high = [math.inf] * 3, [-math.inf] * 3
    for part in parts:
        shaped = part.evaluated_get(graph)
        mesh = shaped.to_mesh()
        points = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", points)
        shaped.to_mesh_clear()
        if not points.size:
            continue
        world = np.array(part.matrix_world)
        points = points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]
        low = np.minimum(low, points.min(0))
        high = np.maximum(high, points.max(0))
    return Vector(low), Vector(high)
